"""Paired differences between two arms, with bootstrap intervals over clips.

The clips are the units: those of several seeds with one clip number share a voice, so their mean is one value.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.intervals import Interval, bootstrap_mean


def paired_difference(
    one: Sequence[Sequence[float | None]], other: Sequence[Sequence[float | None]]
) -> tuple[Interval, list[float]]:
    """`one` − `other`, both [seeds][clips]: over clips (each the mean of its seeds), and the mean of every seed.

    A clip of which either arm says nothing is left out of its seed. Raises ValueError where the shapes differ.
    """
    first, second = (np.array(arm, dtype=np.float64) for arm in (one, other))  # None becomes NaN
    if first.shape != second.shape:
        raise ValueError(f"arms are compared clip by clip and need equally many; got {first.shape} and {second.shape}")
    difference = first - second
    return bootstrap_mean(_mean(difference, 0)), [float(value) for value in _mean(difference, 1)]


def mean_of(values: Sequence[Sequence[float | None]]) -> float:
    """The mean of all values [seeds][clips] that are there."""
    known = [value for row in values for value in row if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0.0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
