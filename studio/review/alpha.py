"""Krippendorff's alpha: how far people who looked at the same things said the same, beyond what chance gives.

`1 - observed / expected` disagreement over pairs of values (Krippendorff, Computing Krippendorff's Alpha-Reliability,
2011). Missing values are simply not counted; units with one value say nothing. Knows nothing about labels.
"""

import math

import numpy as np


def nominal_alpha(values: np.ndarray, counts: np.ndarray) -> float:
    """Alpha of names: two values differ, or they do not. See `alpha`."""
    return alpha(values, counts, 1.0 - np.eye(values.shape[1]))


def alpha(values: np.ndarray, counts: np.ndarray, differences: np.ndarray) -> float:
    """`counts[u]` units were each given the value v by `values[u, v]` people; `differences[v, w]` tells v from w.

    From -1 to 1: 1 is perfect, 0 what chance gives. NaN where it is undefined: no unit has two values, or all values
    are the same.
    """
    several = values.sum(axis=1) > 1
    units = values[several].astype(np.float64)
    times = counts[several].astype(np.float64) / (units.sum(axis=1) - 1)
    # Coincidences: every ordered pair of values within a unit, one over how many others each value has there.
    pairs = (units * times[:, None]).T @ units - np.diag(times @ units)
    totals = pairs.sum(axis=1)
    expected = totals @ differences @ totals
    if expected <= 0:
        return math.nan
    return float(1 - (totals.sum() - 1) * (pairs * differences).sum() / expected)
