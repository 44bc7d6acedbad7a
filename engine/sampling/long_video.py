"""Long Video CFG: cover a long clip with overlapping windows and blend their predictions (paper, Eq. 4-5).

Works in latent frames only; knows nothing about audio, guidance scales or schedulers. A short clip is one window.
Departures: the last window is moved back to end with the clip, so that all windows have one length and share a batch;
weights are normalised by their sum, because three windows can then overlap.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """The latent frames [start, stop) of a clip."""

    start: int
    stop: int


def plan_windows(first: int, stop: int, length: int, overlap_latent_frames: int) -> list[Window]:
    """Windows of `length` latent frames over [first, stop), neighbours sharing at least `overlap_latent_frames`.

    All windows have the same length, that of the clip where it is shorter than `length`.
    """
    if not 0 <= overlap_latent_frames < length:
        raise ValueError(f"the overlap must be in [0, {length}), the window's length; got {overlap_latent_frames}")
    if first >= stop:
        raise ValueError(f"no latent frames to cover between {first} and {stop}")
    length = min(length, stop - first)
    last = stop - length
    starts = [*range(first, last, max(1, length - overlap_latent_frames)), last]
    return [Window(start, start + length) for start in starts]


def blend_weights(windows: list[Window]) -> Tensor:
    """Weight of every window at each of its latent frames, float32 [windows, length]; at a clip's frame they sum to 1.

    In an overlap of N frames the right window rises by (f + 1/2) / N for f = 0 ... N - 1 while the left one falls.
    """
    length = windows[0].stop - windows[0].start
    weights = torch.ones(len(windows), length)
    for left, (before, after) in enumerate(pairwise(windows)):
        shared = before.stop - after.start
        rise = (torch.arange(shared) + 0.5) / shared if shared > 0 else torch.ones(0)
        weights[left, length - rise.numel() :] *= 1.0 - rise
        weights[left + 1, : rise.numel()] *= rise
    total = torch.zeros(windows[-1].stop)
    for window, row in zip(windows, weights, strict=True):
        total[window.start : window.stop] += row
    return torch.stack([row / total[w.start : w.stop] for w, row in zip(windows, weights, strict=True)])


def left_weights(windows: list[Window]) -> Tensor:
    """Weights [windows, length] that take each frame from the leftmost window that covers it (paper, Eq. 4, for the
    unconditional branch)."""
    length = windows[0].stop - windows[0].start
    weights = torch.ones(len(windows), length)
    for right, (before, after) in enumerate(pairwise(windows), start=1):
        weights[right, : max(0, before.stop - after.start)] = 0.0
    return weights


def blend(predictions: Tensor, windows: list[Window], weights: Tensor) -> Tensor:
    """One prediction for the clip from those of its windows.

    `predictions` [windows, C, length, h, w] and `weights` [windows, length] give [1, C, frames, h, w] for the latent
    frames from the first window's start to the last one's stop.
    """
    first, stop = windows[0].start, windows[-1].stop
    _, channels, _, height, width = predictions.shape
    clip = predictions.new_zeros(1, channels, stop - first, height, width)
    for window, prediction, row in zip(windows, predictions, weights, strict=True):
        clip[0, :, window.start - first : window.stop - first] += prediction * row.to(prediction)[:, None, None]
    return clip
