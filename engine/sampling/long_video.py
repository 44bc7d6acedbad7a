"""Long Video CFG: cover a long clip with overlapping windows and blend their predictions (paper, Eq. 4-5).

Works in latent frames only; knows nothing about audio, guidance scales or schedulers. A short clip is one window.
Departures: a clip is cut evenly, so that no window is short and nothing is computed twice but the overlaps; weights are
normalised by their sum, because three windows can overlap where the overlap is more than half a window.
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
    """The fewest windows of at most `length` latent frames over [first, stop), neighbours sharing the overlap.

    Their lengths differ by one at the most; a clip that is shorter than `length` is one window.
    """
    if not 0 <= overlap_latent_frames < length:
        raise ValueError(f"the overlap must be in [0, {length}), the window's length; got {overlap_latent_frames}")
    if first >= stop:
        raise ValueError(f"no latent frames to cover between {first} and {stop}")
    count = max(1, -(-(stop - first - overlap_latent_frames) // (length - overlap_latent_frames)))
    starts, stops, total = [first], [], stop - first + (count - 1) * overlap_latent_frames
    for index in range(count):
        stops.append(starts[-1] + (total + index) // count)
        starts.append(stops[-1] - overlap_latent_frames)
    return [Window(start, end) for start, end in zip(starts, stops, strict=False)]


def blend_weights(windows: list[Window]) -> list[Tensor]:
    """Weight of every window at each of its latent frames, float32 [length] each; at a clip's frame they sum to 1.

    In an overlap of N frames the right window rises by (f + 1/2) / N for f = 0 ... N - 1 while the left one falls.
    """
    weights = [torch.ones(window.stop - window.start) for window in windows]
    for left, (before, after) in enumerate(pairwise(windows)):
        shared = before.stop - after.start
        rise = (torch.arange(shared) + 0.5) / shared if shared > 0 else torch.ones(0)
        weights[left][len(weights[left]) - rise.numel() :] *= 1.0 - rise
        weights[left + 1][: rise.numel()] *= rise
    total = torch.zeros(windows[-1].stop)
    for window, row in zip(windows, weights, strict=True):
        total[window.start : window.stop] += row
    return [row / total[w.start : w.stop] for w, row in zip(windows, weights, strict=True)]


def left_weights(windows: list[Window]) -> list[Tensor]:
    """Weights, [length] each, that take a frame from the leftmost window that covers it (paper, Eq. 4, for the
    unconditional branch)."""
    weights = [torch.ones(window.stop - window.start) for window in windows]
    for right, (before, after) in enumerate(pairwise(windows), start=1):
        weights[right][: max(0, before.stop - after.start)] = 0.0
    return weights


def add_window(clip: Tensor, prediction: Tensor, window: Window, weights: Tensor) -> None:
    """Add a window's `prediction` [C, length, h, w], times `weights` [length], to the sum `clip` [1, C, T, h, w].

    Every window added with its weights gives the blended prediction; only the sum is ever held.
    """
    clip[0, :, window.start : window.stop] += prediction.to(clip) * weights.to(clip)[:, None, None]
