"""Rules that say of a clip of nano, from its latents alone, how much there is of an issue: labels by rule, not by eye.

A rule is known by the issue's name in `assets/review_issues.yaml`; above a limit that is stated beforehand, the clip is
bad. Knows nothing about files or the review store.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from engine.contract.request import Box
from engine.nano.face_motion import CONTROL_POINTS, FaceMotionAutoencoder
from trainer.metrics.motion import head_jerk

_ORDER = CONTROL_POINTS.tolist()
_UPPER, _LOWER = ([_ORDER.index(point) for point in lip] for lip in ((82, 13, 312), (87, 14, 317)))


@dataclass(frozen=True)
class Judgement:
    """What a rule measures of latents [1, 16, T, 8, 8], its unit, and where it looks, xyxy in shares of the face's box.

    None is everywhere, the head's pose included.
    """

    measure: Callable[[FaceMotionAutoencoder, Tensor], float]
    unit: str
    place: Box | None = None

    def region(self, face_box: Box) -> Box | None:
        """The place in a picture whose face is in `face_box`, in fractions of it as that is."""
        if self.place is None:
            return None
        left, top, right, bottom = face_box
        width, height = right - left, bottom - top
        x0, y0, x1, y1 = self.place
        return left + x0 * width, top + y0 * height, left + x1 * width, top + y1 * height


def mouth_opening(autoencoder: FaceMotionAutoencoder, latents: Tensor) -> float:
    """95th percentile of how much farther the inner lips are apart than in the picture, in face heights."""
    motion, _ = autoencoder.unpack(latents)
    apart = (motion[0, :, _LOWER, 1] - motion[0, :, _UPPER, 1]).mean(1)
    return float(np.percentile(apart.numpy(), 95))


def pose_jerk(autoencoder: FaceMotionAutoencoder, latents: Tensor) -> float:
    """Root mean square of the third derivative of yaw, pitch and roll as drawn, in rad/s³."""
    return head_jerk(autoencoder.decode_pose(latents)[:, :3])


RULES = {
    "exaggerated-motion": Judgement(mouth_opening, "face heights", (0.2, 0.6, 0.8, 1.0)),
    "jitter": Judgement(pose_jerk, "rad/s³"),
}
