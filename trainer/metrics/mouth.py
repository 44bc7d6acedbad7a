"""How far the mouth of a filmed face is open, one value per video frame: FaceMesh's inner lips over the eyes' distance.

Frames in, a track out; knows nothing about sound. The opening is that of the middle pair of the inner lips
alone (landmarks 13 and 14), measured in the picture's plane.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from engine.contract.variants import FPS
from engine.media.face import track_face

INNER_LIPS = (13, 14)
OUTER_EYE_CORNERS = (33, 263)


def inner_lip_aperture(landmarks_px: NDArray[np.floating]) -> float:
    """Distance of the inner lips' middles over that of the outer eye corners; landmarks [≥ 468, 2 or 3] in pixels."""
    upper, lower = landmarks_px[list(INNER_LIPS), :2]
    right, left = landmarks_px[list(OUTER_EYE_CORNERS), :2]
    return float(np.linalg.norm(upper - lower) / np.linalg.norm(right - left))


def aperture_track(frames: Iterator[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """The opening in every frame of one video (uint8 RGB [H, W, 3]), NaN where no face is seen: [frames]."""
    return apertures(track_face(frames))


def apertures(tracked: Iterable[NDArray[np.floating] | None]) -> NDArray[np.float64]:
    """The opening of each tracked face, landmarks [468, 3] in pixels or None where none was seen: [frames]."""
    return np.array([np.nan if face is None else inner_lip_aperture(face) for face in tracked])


def at_metric_rate(track: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
    """A track at `fps` as one at 25 per second: the value shown at the middle of each frame."""
    frames = round(len(track) / fps * FPS)
    shown = ((np.arange(frames) + 0.5) / FPS * fps).astype(int)
    return track[np.minimum(shown, len(track) - 1)]
