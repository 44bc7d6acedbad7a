"""Krippendorff's alpha the long way: pair after pair, as its definition is read out loud."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any


def alpha_by_pairs(
    units: Sequence[Sequence[Any]], difference: Callable[[Any, Any], float] = lambda one, other: float(one != other)
) -> float:
    """Mean difference within units, where a unit weighs as its values do, against that over all values."""
    units = [unit for unit in units if len(unit) > 1]
    everything = list(itertools.chain.from_iterable(units))
    within = sum(
        sum(difference(*pair) for pair in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(everything)
    overall = list(itertools.permutations(everything, 2))
    return 1 - within / (sum(difference(*pair) for pair in overall) / len(overall))
