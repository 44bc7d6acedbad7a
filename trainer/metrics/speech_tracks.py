"""What is heard, one value per video frame: log energy of the speech band and where someone speaks.

Sound is float32 mono [samples] at 16 kHz. Frame t of a 25 fps video covers the samples of [t/25, (t+1)/25) seconds.
Knows nothing about faces. Speech energy is only a proxy for how far a mouth opens: never tune a model to it.
"""

from functools import cache
from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from engine.contract.variants import FPS
from engine.media.audio import SAMPLE_RATE_HZ

SPEECH_BAND_HZ = (300.0, 3500.0)
ENERGY_RANGE_DB = 60.0
"""Energy is floored this far below the clip's loudest frame, so that the track does not depend on the gain."""

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS


def num_frames(audio: NDArray[np.float32]) -> int:
    """Whole 25 fps frames covered by `audio`."""
    return len(audio) // SAMPLES_PER_FRAME


def band_log_energy_db(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Energy of the 300–3500 Hz band per video frame, in decibels: [F].

    The filter (Butterworth, forward and backward) has no delay. Digital silence gives a constant track.
    """
    filter_sections = scipy.signal.butter(4, SPEECH_BAND_HZ, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    band = scipy.signal.sosfiltfilt(filter_sections, audio.astype(np.float64))
    frames = num_frames(audio)
    energy = np.square(band[: frames * SAMPLES_PER_FRAME].reshape(frames, SAMPLES_PER_FRAME)).mean(axis=1)
    floor = max(energy.max(initial=0.0) * 10 ** (-ENERGY_RANGE_DB / 10), np.finfo(np.float64).tiny)
    return 10 * np.log10(np.maximum(energy, floor))


def voiced_frames(audio: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The frames whose middle lies in speech, as silero-vad hears it: [F]."""
    import torch
    from silero_vad import get_speech_timestamps

    voiced = np.zeros(num_frames(audio), dtype=bool)
    middle_sample = (np.arange(len(voiced)) + 0.5) * SAMPLES_PER_FRAME
    for span in get_speech_timestamps(torch.from_numpy(audio), _voice_detector(), sampling_rate=SAMPLE_RATE_HZ):
        voiced |= (middle_sample >= span["start"]) & (middle_sample < span["end"])
    return voiced


@cache
def _voice_detector() -> Any:
    import torch

    threads = torch.get_num_threads()
    from silero_vad import load_silero_vad

    # Importing silero-vad sets torch to one thread for the whole process.
    torch.set_num_threads(threads)
    return load_silero_vad(onnx=True)
