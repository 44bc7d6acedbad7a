import numpy as np
import pytest

from research.statistics import mean_of, paired_difference


def test_a_constant_difference_is_found_whatever_clips_do():
    random = np.random.default_rng(0)
    one = random.normal(0, 5, (3, 20))
    difference, by_seed = paired_difference((one + 0.5).tolist(), one.tolist())
    assert difference.value == pytest.approx(0.5) and difference.low == pytest.approx(0.5)
    assert by_seed == pytest.approx([0.5] * 3) and difference.units == 20


def test_two_arms_that_do_not_differ_are_called_so_as_often_as_they_should():
    random = np.random.default_rng(1)
    held = []
    for _ in range(60):
        one, other = random.normal(0, 1, (2, 3, 30))
        difference, _ = paired_difference(one.tolist(), other.tolist())
        held.append(difference.low <= 0 <= difference.high)
    assert np.mean(held) > 0.85


def test_a_clip_that_says_nothing_is_left_out():
    difference, by_seed = paired_difference([[1.0, None, 3.0]], [[0.0, 5.0, None]])
    assert difference.units == 1 and difference.value == 1.0 and by_seed == [1.0]
    assert mean_of([[1.0, None], [3.0, None]]) == 2.0


def test_arms_of_other_shapes_cannot_be_compared():
    with pytest.raises(ValueError, match="clip by clip"):
        paired_difference([[1.0, 2.0]], [[1.0]])
