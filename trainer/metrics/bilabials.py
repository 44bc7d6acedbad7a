"""Do the lips close on p, b and m? Counted on held-out synthetic speech, whose phones are known to the millisecond.

Two measures. A closure is judged within its own clip: the lips' distance must fall below a fifth of the clip's 95th
percentile while the phone lasts; in a mouth that opens wide that is some 3 mm of open lips. A contact is judged in
millimetres: the lips must come within CONTACT_MM, as they do where they touch. Knows nothing about how the motion was
made. A mouth that hardly moves passes by chance, so read the count beside how far the mouth opens at all
(`trainer.metrics.held_out.aperture_r`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.contract.settings import Settings
from engine.contract.variants import FPS, NANO
from engine.nano.model import NanoModel
from trainer.data.speech.corpus import Track
from trainer.data.speech.utterance import Phone
from trainer.metrics.held_out import HELD_OUT_SPLITS, held_out_tracks, lips_apart, speak, synthetic_reference
from trainer.metrics.liveliness import EYE_CORNERS_MM

BILABIALS = ("p", "b", "m")
CLOSED_BELOW = 0.2
"""Of the clip's 95th percentile of the lips' distance."""
CONTACT_MM = 1.0
"""Of the lips' distance: a person whose outer eye corners are 90 mm apart."""
CLIPS = 40
_EYE_CORNERS = (33, 263)
_HALF_FRAME_S = 0.5 / FPS


@dataclass(frozen=True)
class Closures:
    """How many bilabials were spoken, and on how many the lips closed."""

    closed: int
    total: int

    @property
    def share(self) -> float:
        """Closed of all; NaN where none was spoken."""
        return self.closed / self.total if self.total else float("nan")

    def __add__(self, other: "Closures") -> "Closures":
        return Closures(self.closed + other.closed, self.total + other.total)


def count_closures(apart: NDArray[np.floating], phones: Sequence[Phone]) -> Closures:
    """The bilabials among `phones` that end within the clip, and those on which the lips' distance `apart` [F] closes.

    A frame belongs to every phone that its 1/25 s touches, since a phone can be shorter than the time between frames.
    """
    return _count(apart, CLOSED_BELOW * np.percentile(apart, 95), phones)


def count_contacts(landmarks_px: NDArray[np.floating], phones: Sequence[Phone]) -> Closures:
    """The bilabials among `phones` that end within the clip, and those on which the lips of `landmarks_px` [F, 468, 3]
    come closer than CONTACT_MM, at the face's own scale: the outer eye corners of each frame are 90 mm apart."""
    return _count(lips_apart_mm(landmarks_px), CONTACT_MM, phones)


def lips_apart_mm(landmarks_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the inner lips are apart, [F], where the outer eye corners are 90 mm apart in space in every frame."""
    right, left = _EYE_CORNERS
    return (
        lips_apart(landmarks_px)
        * EYE_CORNERS_MM
        / np.linalg.norm(landmarks_px[:, right] - landmarks_px[:, left], axis=1)
    )


def _count(apart: NDArray[np.floating], limit: float, phones: Sequence[Phone]) -> Closures:
    middles_s = (np.arange(len(apart)) + 0.5) / FPS
    spoken = [phone for phone in phones if phone.ipa.startswith(BILABIALS) and phone.end_s <= len(apart) / FPS]
    closed = 0
    for phone in spoken:
        during = (middles_s >= phone.start_s - _HALF_FRAME_S) & (middles_s < phone.end_s + _HALF_FRAME_S)
        closed += bool(apart[during].min() < limit)
    return Closures(closed, len(spoken))


@dataclass(frozen=True)
class HeldOut:
    """The bilabials of held-out voices by both measures: against each clip's own opening, and in millimetres."""

    closures: Closures
    contacts: Closures


def held_out_closures(
    model: NanoModel, settings: Settings = NANO.default_settings, tracks: Sequence[Track] | None = None
) -> HeldOut:
    """Both counts while random faces say `tracks`, each with a seed of its own; held-out voices in turn if none are
    given.

    Raises UserError where the programs that speak are not installed.
    """
    tracks = list(held_out_tracks(HELD_OUT_SPLITS, CLIPS)) if tracks is None else tracks
    closures, contacts = Closures(0, 0), Closures(0, 0)
    for seed, track in enumerate(tracks):
        landmarks_px = speak(model, settings, track, synthetic_reference(model, seed), seed=seed)
        closures += count_closures(lips_apart(landmarks_px), track.phones)
        contacts += count_contacts(landmarks_px, track.phones)
    return HeldOut(closures, contacts)
