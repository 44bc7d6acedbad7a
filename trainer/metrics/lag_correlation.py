"""Does one track follow another, at which delay, and could chance do as well? Pearson r over lags and circular shifts.

Works on plain tracks, one value per frame; knows nothing about faces or sound.
Departure: the paper reports SyncNet's Sync-C; this is a model-free proxy with a null of its own.
Limit: a maximum over 31 lags leaves a short clip few independent shifts. Unrelated smooth tracks fall below p = 0.05 in
15 % of clips of 160 frames, 9 % of 400 and 6 % of 1500: judge by the share over many clips, not by the p of one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.contract.errors import UserError
from engine.contract.variants import FPS

MAX_LAG_FRAMES = 15
LAGS = np.arange(-MAX_LAG_FRAMES, MAX_LAG_FRAMES + 1)
MIN_SHIFT_FRAMES = 2 * MAX_LAG_FRAMES + 1
"""Smallest circular shift of the null: from here on, no lag of a shifted track meets a lag of the true one."""
MIN_SHIFTS = 20
"""Fewest shifts of a test: with them p can fall below 0.05."""
MIN_FRAMES = 2 * MIN_SHIFT_FRAMES + MIN_SHIFTS - 1
MIN_PAIRS = 10
"""A lag with fewer frames to compare is left out."""
MIN_SPEECH_FRAMES = 25
"""One second of speech with a visible face: less is refused."""

Track = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LagCorrelation:
    """The best signed r over all lags and what chance reaches with the same search.

    `lag_frames` is positive where the mouth is behind the sound. `p` = (1 + shifts whose maximum reaches `r`) /
    (1 + `shifts`); `null_95` is the 95th percentile of those maxima. `frames` were compared at lag 0.
    """

    r: float
    lag_frames: int
    p: float
    null_95: float
    shifts: int
    frames: int


def correlations(mouth: Track, speech: Track, voiced: Mask) -> Track:
    """Pearson r for every circular shift of the mouth and every lag: [F shifts, 31 lags −15 … 15].

    Row s pairs mouth[(t + lag − s) mod F] with speech[t] over the voiced frames t whose t + lag lies in the clip; row 0
    is the unshifted mouth. All three inputs are [F]; frames where `mouth` is NaN (no face) are left out. A track that
    does not vary has r = 0; a lag with fewer than 10 frames left is NaN. Sums over t are circular correlations, so one
    FFT per lag serves all shifts.
    """
    frames = len(speech)
    seen = np.isfinite(mouth)
    x = _standardised(np.where(seen, mouth, 0.0), seen)
    y = _standardised(speech, voiced)
    t = np.arange(frames)
    mouth_spectra = np.fft.rfft(np.stack([seen.astype(np.float64), x, x * x]))
    r = np.empty((frames, len(LAGS)))
    for column, lag in enumerate(LAGS):
        weight = (voiced & (t + lag >= 0) & (t + lag < frames)).astype(np.float64)
        speech_spectra = np.fft.rfft(np.roll(np.stack([weight, weight * y, weight * y * y]), lag, axis=-1))
        products = mouth_spectra[None].conj() * speech_spectra[:, None]
        sums = np.fft.irfft(products, n=frames, axis=-1)
        count = np.round(sums[0, 0])
        safe_count = np.maximum(count, 1.0)
        covariance = sums[1, 1] - sums[1, 0] * sums[0, 1] / safe_count
        x_scale = sums[0, 2] - np.square(sums[0, 1]) / safe_count
        y_scale = sums[2, 0] - np.square(sums[1, 0]) / safe_count
        varies = (x_scale > 1e-9) & (y_scale > 1e-9)
        scale = np.sqrt(np.where(varies, x_scale * y_scale, 1.0))
        r[:, column] = np.where(count >= MIN_PAIRS, np.where(varies, covariance / scale, 0.0), np.nan)
    return r


def _standardised(track: Track, used: Mask) -> Track:
    """`track` with mean 0 and deviation 1 over the frames `used`, 0 elsewhere; all 0 where it does not vary."""
    if not used.any():
        return np.zeros(len(track))
    mean, deviation = track[used].mean(), track[used].std()
    if deviation <= 1e-9 * max(abs(mean), 1e-3):
        return np.zeros(len(track))
    return np.where(used, (track - mean) / deviation, 0.0)


def correlate(mouth: Track, speech: Track, voiced: Mask) -> LagCorrelation:
    """The best r of `mouth` against `speech` over lags, tested against circular shifts of 31 … F − 31 frames.

    All three are [F] at the same rate; `mouth` may hold NaN. The shifted mouth goes through the same search over lags,
    because a maximum over 31 lags is high by chance alone. Raises UserError below 81 frames (fewer than 20 shifts) and
    where less than a second of speech has a visible face.
    """
    frames = len(speech)
    if frames < MIN_FRAMES:
        raise UserError(
            f"The video is too short for the shift test: {frames} frames at {FPS} fps, at least {MIN_FRAMES} "
            f"({MIN_FRAMES / FPS:.2f} s) are needed."
        )
    compared = int((np.isfinite(mouth) & voiced).sum())
    if compared < MIN_SPEECH_FRAMES:
        raise UserError(
            f"Too little to compare: {compared} frames have both speech and a face, at least {MIN_SPEECH_FRAMES} "
            "are needed; use a video in which a visible face speaks."
        )
    by_shift = correlations(mouth, speech, voiced)
    r, lag_frames = best_lag(by_shift[0])
    null = by_shift[MIN_SHIFT_FRAMES : frames - MIN_SHIFT_FRAMES + 1]
    maxima = np.nanmax(null[~np.isnan(null).all(axis=1)], axis=1, initial=-1.0)
    if len(maxima) < MIN_SHIFTS:
        raise UserError(
            f"The face is seen too rarely for the shift test: only {compared} frames hold speech and a face."
        )
    return LagCorrelation(
        r=r,
        lag_frames=lag_frames,
        p=(1 + int((maxima >= r - 1e-9).sum())) / (1 + len(maxima)),
        null_95=float(np.percentile(maxima, 95)),
        shifts=len(maxima),
        frames=compared,
    )


def best_lag(by_lag: Track) -> tuple[float, int]:
    """The largest signed r of one row of `correlations` and its lag; of equal ones the lag nearest to 0."""
    nearest_first = np.argsort(np.abs(LAGS), kind="stable")
    index = nearest_first[int(np.nanargmax(np.round(by_lag[nearest_first], 9)))]
    return float(by_lag[index]), int(LAGS[index])
