"""The Fréchet distance between two sets of features, as if both were Gaussian: what FID and FVD are made of.

    d² = |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)

Knows nothing about pictures. tr (Σ₁ Σ₂)^½ is the sum of the singular values of A₁ A₂ᵀ where Σ = AᵀA, so no matrix root
is taken, and a set smaller than its features' dimension is no special case.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.intervals import LEVEL, Interval

RESAMPLES = 50
"""Each is a distance of its own: fewer than of a mean."""

Features = NDArray[np.floating]


def frechet_distance(one: Features, other: Features) -> float:
    """d² of two sets of features, [n, C] and [m, C], covariances unbiased. Raises ValueError below two of either."""
    if min(len(one), len(other)) < 2:
        raise ValueError(f"a covariance needs two samples at least; got {len(one)} and {len(other)}")
    means, roots = zip(*(_moments(np.asarray(features, np.float64)) for features in (one, other)), strict=True)
    crossed = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    distance = np.sum((means[0] - means[1]) ** 2) + np.sum(roots[0] ** 2) + np.sum(roots[1] ** 2) - 2 * crossed
    return float(max(distance, 0.0))


def _moments(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [C] and a matrix A of at most C rows with AᵀA the covariance."""
    mean = features.mean(0)
    root = (features - mean) / np.sqrt(len(features) - 1)
    return mean, np.asarray(np.linalg.qr(root, mode="r")) if len(root) > root.shape[1] else root


def frechet_interval(videos: Sequence[Features], reference: Sequence[Features]) -> Interval:
    """d² between features grouped by video, [n_i, C] each, with an interval over resampled `videos`.

    The reference stays as it is. A distance is biased upwards in small sets, resampled ones are smaller still: the
    interval tells how much the choice of videos matters, not where the distance of infinitely many would lie.
    """
    real = np.concatenate(list(reference))
    value = frechet_distance(np.concatenate(list(videos)), real)
    random = np.random.default_rng(0)
    drawn = [
        frechet_distance(np.concatenate([videos[i] for i in random.integers(len(videos), size=len(videos))]), real)
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), len(videos))
