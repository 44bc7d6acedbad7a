"""Whether lips and sound are apart beyond chance: the lag of a mouth that follows its voice only loosely is uncertain.

A block bootstrap over time: frames are drawn in blocks, because neighbouring ones say much the same, and the lag that
fits best is held against the best of those that are allowed. Draws are fixed, so that the same clip always gets the
same answer. Knows nothing about files, faces or limits.
"""

import numpy as np

from trainer.metrics.lag_correlation import LAGS, MIN_PAIRS, Mask, Track

BLOCK_FRAMES = 10
DRAWS = 400
_NO_SPREAD = 1e-12


def chance_of_lag_within(mouth: Track, speech: Track, voiced: Mask, max_lag_frames: int) -> float:
    """The share of draws in which a lag of at most `max_lag_frames` fits as well as the best of all lags, 0 to 1.

    All three are [F] at the same rate; `mouth` may hold NaN. 1 where the best lag is itself allowed.
    """
    frames = len(speech)
    random = np.random.default_rng(0)
    starts = random.integers(frames, size=(DRAWS, -(-frames // BLOCK_FRAMES)))
    drawn = ((starts[:, :, None] + np.arange(BLOCK_FRAMES)) % frames).reshape(DRAWS, -1)[:, :frames]
    counts = np.stack([np.bincount(row, minlength=frames) for row in drawn]).astype(np.float64)
    allowed = np.abs(LAGS) <= max_lag_frames
    best = int(np.nanargmax(_by_lag(mouth, speech, voiced, np.ones((1, frames)))[0]))
    if allowed[best]:
        return 1.0
    r = _by_lag(mouth, speech, voiced, counts)
    return float((np.nanmax(r[:, allowed], axis=1, initial=-1.0) >= r[:, best]).mean())


def _by_lag(mouth: Track, speech: Track, voiced: Mask, counts: Track) -> Track:
    """Pearson r of mouth[t + lag] and speech[t], [draws, 31]; frame t counts `counts` [draws, F] times."""
    frames = len(speech)
    t = np.arange(frames) + LAGS[:, None]
    x = np.nan_to_num(mouth - np.nanmean(mouth))[np.clip(t, 0, frames - 1)]
    seen = np.isfinite(mouth)[np.clip(t, 0, frames - 1)]
    used = (voiced & seen & (t >= 0) & (t < frames)).astype(np.float64)
    y = speech - speech[voiced].mean()

    def total(value: Track) -> Track:
        return counts @ (used * value).T

    count = total(np.ones_like(x))
    each = np.maximum(count, 1)
    covariance = total(x * y) - total(x) * total(y) / each
    spread = (total(x * x) - total(x) ** 2 / each) * (total(y * y) - total(y) ** 2 / each)
    compared = (count >= MIN_PAIRS) & (spread > _NO_SPREAD)
    return np.where(compared, covariance / np.sqrt(np.where(compared, spread, 1.0)), np.nan)
