"""A lag beyond the limit counts only where it is beyond chance."""

import numpy as np
import pytest

from trainer.prepare.lag import chance_of_lag_within

FRAMES, LIMIT = 113, 3


def tracks(lag: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A mouth that follows its voice `lag` frames behind, with noise of so many deviations."""
    random = np.random.default_rng(seed)
    long = np.convolve(random.normal(size=FRAMES + 40), np.ones(4) / 2, mode="same")
    mouth = long[20 - lag : 20 - lag + FRAMES] + noise * random.normal(size=FRAMES)
    return mouth, long[20 : 20 + FRAMES], np.ones(FRAMES, bool)


@pytest.mark.parametrize("lag", [-15, -6, 6, 12])
def test_a_clear_lag_beyond_the_limit_is_no_chance(lag):
    assert chance_of_lag_within(*tracks(lag, 0.5), LIMIT) <= 0.01


@pytest.mark.parametrize("lag", [-3, 0, 2])
def test_a_lag_within_the_limit_is_allowed_however_clear(lag):
    assert chance_of_lag_within(*tracks(lag, 0.2), LIMIT) == 1.0


def test_where_the_mouth_hardly_follows_no_lag_is_proved():
    chances = [chance_of_lag_within(*tracks(0, 8.0, seed), LIMIT) for seed in range(20)]
    assert sum(chance <= 0.05 for chance in chances) <= 4


def test_frames_without_a_face_are_left_out_and_the_answer_is_always_the_same():
    mouth, speech, voiced = tracks(8, 0.5)
    mouth[10:20] = np.nan
    assert (
        chance_of_lag_within(mouth, speech, voiced, LIMIT) == chance_of_lag_within(mouth, speech, voiced, LIMIT) <= 0.05
    )
