"""Do the lips close on p, b and m? Counted on held-out synthetic speech, whose phones are known to the millisecond.

A closure is judged within its own clip: the lips' distance must fall below a fifth of the clip's 95th percentile while
the phone lasts. Knows nothing about how the motion was made. A mouth that hardly moves passes by chance, so read the
count beside how far the mouth opens at all (`trainer.metrics.held_out.aperture_r`).
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

BILABIALS = ("p", "b", "m")
CLOSED_BELOW = 0.2
"""Of the clip's 95th percentile of the lips' distance."""
CLIPS = 40
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
    limit = CLOSED_BELOW * np.percentile(apart, 95)
    middles_s = (np.arange(len(apart)) + 0.5) / FPS
    spoken = [phone for phone in phones if phone.ipa.startswith(BILABIALS) and phone.end_s <= len(apart) / FPS]
    closed = 0
    for phone in spoken:
        during = (middles_s >= phone.start_s - _HALF_FRAME_S) & (middles_s < phone.end_s + _HALF_FRAME_S)
        closed += bool(apart[during].min() < limit)
    return Closures(closed, len(spoken))


def held_out_closures(
    model: NanoModel, settings: Settings = NANO.default_settings, tracks: Sequence[Track] | None = None
) -> Closures:
    """Closures while random faces say `tracks`, each with a seed of its own; held-out voices in turn if none are given.

    Raises UserError where the programs that speak are not installed.
    """
    tracks = list(held_out_tracks(HELD_OUT_SPLITS, CLIPS)) if tracks is None else tracks
    counted = Closures(0, 0)
    for seed, track in enumerate(tracks):
        landmarks_px = speak(model, settings, track, synthetic_reference(model, seed), seed=seed)
        counted += count_closures(lips_apart(landmarks_px), track.phones)
    return counted
