"""What a listener's body hears in a voice: when it speaks, where phrases begin and end, which syllables are stressed.

From loudness alone, at the rate of the video. Knows nothing about words or faces.
"""

from dataclasses import dataclass

import numpy as np
import scipy.signal
from scipy.ndimage import gaussian_filter1d

from engine.contract.variants import FPS

SPEECH_DB = -26.0
"""Against the loud frames of the voice: what is softer is a pause."""
SILENT_RMS = 2e-4
PAUSE_FRAMES = 6
SHORTEST_PHRASE_FRAMES = 5
LATE_FRAMES = 3


@dataclass(frozen=True)
class Voice:
    """`speaking` [F] in [0, 1], smooth; `phrases` as first and last (exclusive) frames; `stresses` as the frame of a
    loudness peak and its strength in [0, 1], in order."""

    speaking: np.ndarray
    phrases: tuple[tuple[int, int], ...] = ()
    stresses: tuple[tuple[int, float], ...] = ()


def hear(wave: np.ndarray, num_frames: int, samples_per_frame: int) -> Voice:
    """`wave` float32 [n], cut or followed by silence to `num_frames` frames of `samples_per_frame`."""
    wanted = num_frames * samples_per_frame
    framed = np.pad(wave[:wanted].astype(np.float32), (0, max(0, wanted - len(wave)))).reshape(num_frames, -1)
    rms = np.sqrt(np.square(framed).mean(1))
    if num_frames == 0 or rms.max() < SILENT_RMS:
        return Voice(np.zeros(num_frames))
    loud = float(np.percentile(rms[rms > 0.1 * rms.max()], 80))
    level_db = 20 * np.log10(gaussian_filter1d(rms, 0.7) / loud + 1e-6)
    phrases = _phrases(level_db > SPEECH_DB)
    voiced = np.zeros(num_frames)
    for start, stop in phrases:
        voiced[start:stop] = 1.0
    return Voice(gaussian_filter1d(voiced, LATE_FRAMES, mode="nearest"), phrases, _stresses(rms / loud, voiced))


def _phrases(speech: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Stretches of speech; pauses shorter than PAUSE_FRAMES do not part them."""
    edges = np.diff(np.concatenate([[0], speech.astype(int), [0]]))
    merged: list[list[int]] = []
    for start, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if merged and start - merged[-1][1] < PAUSE_FRAMES:
            merged[-1][1] = int(stop)
        else:
            merged.append([int(start), int(stop)])
    return tuple((start, stop) for start, stop in merged if stop - start >= SHORTEST_PHRASE_FRAMES)


def _stresses(loudness: np.ndarray, voiced: np.ndarray) -> tuple[tuple[int, float], ...]:
    """Peaks of the loudness over its surroundings: a stressed syllable is louder and longer than its neighbours."""
    over = gaussian_filter1d(loudness, 1.8) - 0.7 * gaussian_filter1d(loudness, FPS / 2)
    peaks, found = scipy.signal.find_peaks(over * voiced, prominence=0.08)
    if not len(peaks):
        return ()
    strongest = max(float(np.percentile(found["prominences"], 85)), 1e-6)
    strengths = np.clip(found["prominences"] / strongest, 0, 1)
    return tuple((int(at), float(strength)) for at, strength in zip(peaks, strengths, strict=True))
