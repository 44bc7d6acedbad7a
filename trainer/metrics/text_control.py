"""Does a face do what the prompt asks for? Simple rules on landmarks, one for each idea, on prompts never trained on.

The rules look at where the face is against its still picture: head pose in radians, points in face heights. They know
nothing about models; a rule is judged by what it says of true motion and of motion that was asked for something else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray

from engine.contract.settings import Settings
from engine.contract.variants import FPS, NANO
from engine.nano.face_motion import CONTROL_POINTS, SLOTS, FaceMotionAutoencoder, FaceReference
from engine.nano.model import NanoModel
from engine.sampling.tasks import next_valid_length
from trainer.data.speech.corpus import Track
from trainer.metrics.held_out import HELD_OUT_SPLITS, held_out_tracks, speak, synthetic_reference

PROMPTS: dict[str, tuple[str, ...]] = {
    "nod": (
        "a person nods while talking",
        "the woman is nodding to her guest",
        "he gives a nod with every word",
        "nodding slowly, a man explains something",
    ),
    "shake": (
        "a person shakes the head while talking",
        "the woman is shaking her head",
        "he says no with a shake of the head",
        "shaking his head, a man explains something",
    ),
    "still": (
        "a person talks and the head is still",
        "the woman speaks motionless",
        "he talks with minimal movement of the head",
        "keeping still, a man explains something",
    ),
    "smile": (
        "a smiling person talks",
        "the woman smiles at her guest",
        "he speaks with a smile",
        "happy, a man explains something",
    ),
    "eyebrows up": (
        "a person talks with the eyebrows up",
        "the woman speaks, surprised",
        "he is astonished by what he says",
        "with raised eyebrows a man explains something",
    ),
}
"""Sentences that no training caption is: those are one or two bare words."""

CLIP_S = 6.0
SEEDS = 3
SETTLED_FRAME = 12
"""What is before it still comes from the picture."""

SWING_BAND_HZ = (0.5, 1.8)
"""Nodding and shaking; slower is a head's wander, faster its trembling."""
NOD_RMS = 0.025
SHAKE_RMS = 0.035
"""Radians in the band. Heads that speak naturally stay below about 0.015 and 0.02."""
SWING_DOMINANCE = 1.5
"""How many times the other axis the swinging one must move."""
STILL_DEVIATION = 0.02
"""Radians, of yaw, pitch and roll together. Heads that speak naturally reach 0.03 to 0.1."""
SMILE_RISE = 0.009
"""Face heights that the mouth's corners go up and outwards, against the middle of a clip's frames."""
BROW_RISE = 0.012
"""Face heights; emphasis alone lifts brows by some 0.003."""

_ORDER = CONTROL_POINTS.tolist()
_CORNERS = [_ORDER.index(point) for point in (61, 291)]
_BROWS = [_ORDER.index(point) for point in (70, 105, 107, 52, 300, 334, 336, 282)]
_YAW, _PITCH, _ROLL = (SLOTS.index(name) for name in ("yaw", "pitch", "roll"))


@dataclass(frozen=True)
class HeadMotion:
    """A face against its still picture: `points` [F, 60, 2] in face heights, `pose` [F, 3] yaw, pitch, roll."""

    points: NDArray[np.float32]
    pose: NDArray[np.float32]

    @classmethod
    def of(
        cls, autoencoder: FaceMotionAutoencoder, landmarks_px: NDArray[np.floating], reference: FaceReference
    ) -> "HeadMotion":
        """From landmarks [F, 468, 3] in the picture of `reference`."""
        frames = len(landmarks_px)
        padded = np.concatenate(
            [landmarks_px, np.repeat(landmarks_px[-1:], next_valid_length(frames) - frames, axis=0)]
        )
        with torch.no_grad():
            points, slots = autoencoder.unpack(autoencoder.encode(padded, reference))
        return cls(points[0, :frames].numpy(), slots[0, :frames, [_YAW, _PITCH, _ROLL]].numpy())

    def swing(self) -> NDArray[np.float64]:
        """Root mean square of yaw, pitch and roll in SWING_BAND_HZ, [3]."""
        sections = scipy.signal.butter(2, SWING_BAND_HZ, "bandpass", fs=FPS, output="sos")
        swung = scipy.signal.sosfiltfilt(sections, self.pose[SETTLED_FRAME:], axis=0)
        return np.sqrt(np.square(swung).mean(0))


def _nods(motion: HeadMotion) -> bool:
    yaw, pitch, _ = motion.swing()
    return bool(pitch > NOD_RMS and pitch > SWING_DOMINANCE * yaw)


def _shakes(motion: HeadMotion) -> bool:
    yaw, pitch, _ = motion.swing()
    return bool(yaw > SHAKE_RMS and yaw > SWING_DOMINANCE * pitch)


def _is_still(motion: HeadMotion) -> bool:
    return bool(np.sqrt(motion.pose[SETTLED_FRAME:].var(0).sum()) < STILL_DEVIATION)


def _smiles(motion: HeadMotion) -> bool:
    corners = motion.points[SETTLED_FRAME:, _CORNERS]
    outwards = (corners[:, 1, 0] - corners[:, 0, 0]) / 2
    upwards = -corners[:, :, 1].mean(1)
    return bool((outwards + upwards).mean() > SMILE_RISE)


def _raises_eyebrows(motion: HeadMotion) -> bool:
    return bool(-motion.points[SETTLED_FRAME:, _BROWS, 1].mean() > BROW_RISE)


RULES: dict[str, Callable[[HeadMotion], bool]] = {
    "nod": _nods,
    "shake": _shakes,
    "still": _is_still,
    "smile": _smiles,
    "eyebrows up": _raises_eyebrows,
}


@dataclass(frozen=True)
class TextControl:
    """By idea: clips that were asked for it, those in which its rule saw it, and those of `unasked` clips without a
    prompt in which it did so too."""

    asked: Mapping[str, int]
    recognised: Mapping[str, int]
    unasked: int
    false_alarms: Mapping[str, int]

    @property
    def share(self) -> float:
        """Recognised of all that were asked for."""
        return sum(self.recognised.values()) / sum(self.asked.values())


def held_out_text_control(
    model: NanoModel,
    settings: Settings = NANO.default_settings,
    seeds: int = SEEDS,
    tracks: Sequence[Track] | None = None,
) -> TextControl:
    """Every prompt with `seeds` faces that say held-out speech, and as many clips of each face without a prompt.

    Raises UserError where the programs that speak are not installed.
    """
    if tracks is None:
        tracks = list(held_out_tracks(HELD_OUT_SPLITS, max(map(len, PROMPTS.values())) * seeds, CLIP_S))

    def motion(number: int, prompt: str) -> HeadMotion:
        reference = synthetic_reference(model, number)
        said = tracks[number % len(tracks)]
        landmarks_px = speak(model, settings, said, reference, seed=number, prompt=prompt)
        return HeadMotion.of(model.autoencoder, landmarks_px, reference)

    recognised = {
        idea: sum(RULES[idea](motion(number, prompts[number % len(prompts)])) for number in range(len(prompts) * seeds))
        for idea, prompts in PROMPTS.items()
    }
    asked = {idea: len(prompts) * seeds for idea, prompts in PROMPTS.items()}
    plain = [motion(number, "") for number in range(max(asked.values()))]
    alarms = {idea: sum(map(rule, plain)) for idea, rule in RULES.items()}
    return TextControl(asked, recognised, len(plain), alarms)
