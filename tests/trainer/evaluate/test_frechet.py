import numpy as np
import pytest

from trainer.metrics.frechet import frechet_distance, frechet_interval
from trainer.metrics.intervals import bootstrap_mean


def exactly(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Samples whose sample mean and unbiased covariance are exactly those asked for."""
    raw = np.random.default_rng(seed).normal(size=(count, len(mean)))
    raw -= raw.mean(0)
    whitened = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


def test_gaussians_of_equal_covariance_are_as_far_apart_as_their_means():
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    one, other = exactly(np.zeros(2), covariance, 50), exactly(np.array([3.0, -4.0]), covariance, 70, seed=1)
    assert frechet_distance(one, other) == pytest.approx(25.0, abs=1e-9)


def test_gaussians_with_diagonal_covariances_have_the_known_distance():
    first, second = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 16.0])
    one, other = exactly(np.zeros(3), np.diag(first), 40), exactly(np.ones(3), np.diag(second), 60, seed=1)
    known = 3.0 + np.sum((np.sqrt(first) - np.sqrt(second)) ** 2)
    assert frechet_distance(one, other) == pytest.approx(known, abs=1e-9)


@pytest.mark.parametrize("count", [5, 12, 40])
def test_any_covariances_agree_with_the_matrix_root_also_with_fewer_samples_than_dimensions(count):
    from scipy.linalg import sqrtm

    random = np.random.default_rng(3)
    one, other = random.normal(size=(count, 12)), random.normal(1.0, 2.0, size=(count + 7, 12))
    one = one @ random.normal(size=(12, 12))
    first, second = (np.cov(features, rowvar=False) for features in (one, other))
    # The root of a product of singular matrices is ill-conditioned: sqrtm needs a little of the identity.
    offset = np.eye(12) * 1e-9
    root = np.real(sqrtm((first + offset) @ (second + offset)))
    known = np.sum((one.mean(0) - other.mean(0)) ** 2) + np.trace(first + second - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(known, rel=1e-4)


def test_a_set_is_nowhere_from_itself_and_the_distance_is_symmetric():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(9, 20)), random.normal(0.5, 1, size=(30, 20))
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))
    with pytest.raises(ValueError, match="two samples"):
        frechet_distance(one[:1], other)


def test_the_interval_of_a_distance_is_over_videos():
    random = np.random.default_rng(0)
    videos = [random.normal(size=(8, 3)) for _ in range(12)]
    interval = frechet_interval(videos, [random.normal(2.0, 1, size=(50, 3))])
    assert interval.units == 12
    assert interval.low < interval.value < interval.high


def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = [
        interval.low <= 5.0 <= interval.high
        for interval in (bootstrap_mean(random.normal(5.0, 2.0, 40)) for _ in range(100))
    ]
    assert np.mean(held) > 0.85


def test_what_is_missing_is_left_out_of_a_mean():
    assert bootstrap_mean([1.0, np.nan, 3.0]).units == 2
    nothing = bootstrap_mean([])
    assert nothing.units == 0 and np.isnan(nothing.value)
