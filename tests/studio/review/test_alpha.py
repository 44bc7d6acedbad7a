"""Krippendorff's alpha: the numbers of his own papers, its ends, and the laws that it keeps."""

import math

import numpy as np
import pytest

from studio.review.alpha import alpha, nominal_alpha
from tests.studio.review.alpha_by_pairs import alpha_by_pairs

FOUR_CODERS = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Twelve units, values 1 to 5 and gaps, of Krippendorff's paper of 2011; a unit with one value is among them."""
TWO_CODERS = ("a a b b d c c c e d d a", "b a b b b c c c e d d d")
"""Twelve articles by two people, names only, of the same paper."""


def tallied(units: list[list[str]]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    names = sorted({value for unit in units for value in unit})
    return np.array([[unit.count(name) for name in names] for unit in units]), np.ones(len(units), int), names


def squared(names: list[str]) -> np.ndarray:
    """The differences of numbers."""
    numbers = np.array(names, float)
    return (numbers[:, None] - numbers) ** 2


def four_coders() -> list[list[str]]:
    rows = [line.split() for line in FOUR_CODERS.strip().splitlines()]
    return [[value for value in column if value != "."] for column in zip(*rows, strict=True)]


def test_four_coders_with_gaps_agree_as_published():
    values, counts, names = tallied(four_coders())
    assert nominal_alpha(values, counts) == pytest.approx(0.743, abs=5e-4)
    assert alpha(values, counts, squared(names)) == pytest.approx(0.849, abs=5e-4)


def test_two_coders_of_names_agree_as_published():
    values, counts, _ = tallied([list(pair) for pair in zip(*(row.split() for row in TWO_CODERS), strict=True)])
    assert nominal_alpha(values, counts) == pytest.approx(0.692, abs=5e-4)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_definition_pair_after_pair(seed):
    random = np.random.default_rng(seed)
    units = [list(random.integers(0, 4, random.integers(1, 6)).astype(str)) for _ in range(30)]
    values, counts, names = tallied(units)
    assert nominal_alpha(values, counts) == pytest.approx(alpha_by_pairs(units))
    numbers = [[float(value) for value in unit] for unit in units]
    by_pairs = alpha_by_pairs(numbers, lambda one, other: (one - other) ** 2)
    assert alpha(values, counts, squared(names)) == pytest.approx(by_pairs)


def test_a_unit_that_came_often_counts_as_often():
    values = np.array([[2, 1], [0, 3], [3, 0]])
    counts = np.array([4, 7, 2])
    many = np.repeat(values, counts, axis=0)
    assert nominal_alpha(values, counts) == pytest.approx(nominal_alpha(many, np.ones(13, int)))


def test_perfect_is_one_chance_is_nothing_and_worse_than_chance_is_below():
    random = np.random.default_rng(0)
    chance = random.multinomial(2, [0.3, 0.7], size=40_000)
    assert nominal_alpha(chance, np.ones(len(chance), int)) == pytest.approx(0, abs=0.02)
    assert nominal_alpha(np.array([[3, 0], [0, 2]]), np.array([5, 1])) == 1.0
    assert nominal_alpha(np.array([[1, 1]]), np.array([50])) < -0.9


def test_who_says_nothing_changes_nothing():
    values, counts, _ = tallied(four_coders())
    silent = np.concatenate([values, np.zeros((3, values.shape[1]), int), np.eye(values.shape[1], dtype=int)])
    assert nominal_alpha(silent, np.ones(len(silent), int)) == nominal_alpha(values, counts)


def test_names_may_change_places():
    values, counts, _ = tallied(four_coders())
    assert nominal_alpha(values[:, [3, 0, 4, 2, 1]], counts) == pytest.approx(nominal_alpha(values, counts))


@pytest.mark.parametrize(("values", "counts"), [([[0, 2]], [1]), ([[1, 0], [0, 1]], [1, 1]), ([], []), ([[2, 0]], [0])])
def test_where_nothing_can_be_said_it_is_not_a_number(values, counts):
    measured = nominal_alpha(np.array(values, dtype=int).reshape(-1, 2), np.array(counts, dtype=int))
    assert math.isnan(measured)
