"""A mean with its bootstrap interval, the same for every metric. Resampling begins from a fixed seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds that hold LEVEL of its bootstrap; `units` it was taken over."""

    value: float
    low: float
    high: float
    units: int


def bootstrap_mean(values: ArrayLike) -> Interval:
    """The mean of `values` [n], NaN left out, and its percentile interval over RESAMPLES resamples."""
    given = np.asarray(values, np.float64)
    kept = given[np.isfinite(given)]
    if not len(kept):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    random = np.random.default_rng(0)
    means = kept[random.integers(len(kept), size=(RESAMPLES, len(kept)))].mean(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(kept.mean()), float(low), float(high), len(kept))
