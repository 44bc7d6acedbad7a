import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from engine.contract.errors import UserError
from trainer.metrics.lag_correlation import (
    MAX_LAG_FRAMES,
    MIN_FRAMES,
    MIN_SHIFT_FRAMES,
    correlate,
    correlations,
)

FRAMES = 160


def smooth_noise(seed: int, frames: int = FRAMES) -> np.ndarray:
    return gaussian_filter1d(np.random.default_rng(seed).normal(size=frames), 1.5)


def everywhere(frames: int = FRAMES) -> np.ndarray:
    return np.ones(frames, dtype=bool)


def test_a_mouth_that_is_the_energy_has_r_one_at_lag_zero():
    speech = smooth_noise(0)
    result = correlate(0.1 + 0.02 * speech, speech, everywhere())
    assert result.r == pytest.approx(1.0) and result.lag_frames == 0
    assert result.p == pytest.approx(1 / (1 + FRAMES - 2 * MIN_SHIFT_FRAMES + 1))


@pytest.mark.parametrize("delay", [-15, -4, 4, 15])
def test_lag_is_positive_when_the_mouth_is_behind_the_sound(delay):
    speech = smooth_noise(1)
    result = correlate(np.roll(speech, delay), speech, everywhere())
    assert result.lag_frames == delay
    assert result.r > 0.99


def test_r_is_that_of_numpy_on_the_frames_compared():
    mouth, speech = smooth_noise(2), smooth_noise(3)
    voiced = np.random.default_rng(4).random(FRAMES) < 0.7
    mouth[50:60] = np.nan
    by_lag = correlations(mouth, speech, voiced)[0]
    for lag in (-15, -3, 0, 7):
        t = np.array([t for t in np.flatnonzero(voiced) if 0 <= t + lag < FRAMES and np.isfinite(mouth[t + lag])])
        assert by_lag[lag + MAX_LAG_FRAMES] == pytest.approx(np.corrcoef(mouth[t + lag], speech[t])[0, 1])


def test_a_mouth_that_closes_when_the_voice_rises_has_a_negative_r():
    ramp = np.arange(FRAMES, dtype=float)
    assert correlations(-ramp, ramp, everywhere())[0] == pytest.approx(-1.0)
    assert correlate(-ramp, ramp, everywhere()).r == pytest.approx(-1.0)


def test_only_voiced_frames_count():
    speech = smooth_noise(5)
    voiced = np.arange(FRAMES) < 100
    mouth = np.where(voiced, speech, 50.0)
    assert correlations(mouth, speech, voiced)[0, MAX_LAG_FRAMES] == pytest.approx(1.0)


def test_a_mouth_that_never_moves_has_r_zero_and_is_not_significant():
    result = correlate(np.full(FRAMES, 0.2), smooth_noise(6), everywhere())
    assert result.r == 0.0 and result.p == 1.0


def unrelated_p(frames: int, trials: int) -> np.ndarray:
    pairs = [(smooth_noise(2 * i, frames), smooth_noise(2 * i + 1, frames)) for i in range(trials)]
    return np.array([correlate(mouth, speech, everywhere(frames)).p for mouth, speech in pairs])


def test_chance_is_significant_as_often_as_p_says_in_a_long_clip():
    p = unrelated_p(frames=1500, trials=200)
    assert 0.02 <= (p < 0.05).mean() <= 0.10
    assert 0.40 <= np.median(p) <= 0.60


def test_chance_is_significant_more_often_in_a_short_clip_but_still_rarely():
    p = unrelated_p(frames=160, trials=200)
    assert 0.05 <= (p < 0.05).mean() <= 0.25
    assert 0.40 <= np.median(p) <= 0.65


def test_row_s_is_the_mouth_rolled_by_s():
    mouth, speech = smooth_noise(7), smooth_noise(8)
    voiced = np.random.default_rng(9).random(FRAMES) < 0.7
    mouth[20:25] = np.nan
    by_shift = correlations(mouth, speech, voiced)
    for shift in (1, 31, 100):
        assert by_shift[shift] == pytest.approx(correlations(np.roll(mouth, shift), speech, voiced)[0])


def test_the_null_is_the_same_search_on_every_shift_from_31_to_f_minus_31():
    mouth, speech, voiced = smooth_noise(7), smooth_noise(8), everywhere()
    expected = np.array([correlations(np.roll(mouth, s), speech, voiced)[0].max() for s in range(31, FRAMES - 31 + 1)])
    result = correlate(mouth, speech, voiced)
    assert result.shifts == len(expected) == FRAMES - 61
    assert result.null_95 == pytest.approx(np.percentile(expected, 95))
    assert result.p == pytest.approx((1 + np.sum(expected >= result.r)) / (1 + len(expected)))


def test_no_shift_of_the_null_can_find_the_true_alignment():
    speech = smooth_noise(9)
    assert correlate(speech, speech, everywhere()).null_95 < 0.9


def test_too_short_a_video_is_refused_with_the_limit():
    with pytest.raises(UserError, match=f"80 frames.*{MIN_FRAMES}"):
        correlate(smooth_noise(0, 80), smooth_noise(0, 80), everywhere(80))
    assert correlate(smooth_noise(0, 81), smooth_noise(0, 81), everywhere(81)).p < 0.05


def test_speech_without_a_face_is_refused():
    mouth = np.full(FRAMES, np.nan)
    with pytest.raises(UserError, match="0 frames have both"):
        correlate(mouth, smooth_noise(0), everywhere())
