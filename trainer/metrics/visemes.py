"""How far an English speaker's mouth should open, from the phones that pocketsphinx hears.

English only: its acoustic model knows no other language. Two passes: words first, then the phones of those words
aligned to the sound; a misheard word mostly has the right phones. Knows nothing about faces.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from engine.contract.errors import UserError
from engine.contract.variants import FPS
from trainer.metrics.speech_tracks import SAMPLE_RATE_HZ, num_frames

PHONES_PER_SECOND = 100
SMOOTHING_S = 0.04
"""Standard deviation of the smoothing that stands for coarticulation."""

OPENNESS: dict[str, float] = {
    "AA": 1.0, "AE": 0.9, "AW": 0.9, "AY": 0.9, "AO": 0.8, "EH": 0.65, "OY": 0.65, "AH": 0.6, "OW": 0.6, "EY": 0.55,
    "ER": 0.45, "IH": 0.4, "UH": 0.4, "IY": 0.3, "UW": 0.3,
    "HH": 0.5, "L": 0.4, "K": 0.35, "G": 0.35, "NG": 0.35, "R": 0.3, "Y": 0.3, "TH": 0.3, "DH": 0.3,
    "T": 0.25, "D": 0.25, "N": 0.25, "CH": 0.25, "JH": 0.25, "SH": 0.25, "ZH": 0.25, "S": 0.15, "Z": 0.15, "W": 0.15,
    "F": 0.1, "V": 0.1, "P": 0.0, "B": 0.0, "M": 0.0,
}  # fmt: skip
"""Expected opening of the lips per ARPAbet phone, 0 closed to 1 wide: by vowel height, then by place of articulation.

Silence and noises, which are not listed, are closed.
"""


def expected_openness(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """The opening, 0 to 1, that the English speech in `audio` (mono, 16 kHz) asks for at each video frame: [F].

    Raises UserError where pocketsphinx hears no words.
    """
    openness = np.zeros(int(np.ceil(len(audio) / SAMPLE_RATE_HZ * PHONES_PER_SECOND)) + 1)
    for phone, start, duration in align_phones(audio):
        openness[start : start + duration] = OPENNESS.get(phone, 0.0)
    smooth = gaussian_filter1d(openness, SMOOTHING_S * PHONES_PER_SECOND)
    middle_s = (np.arange(num_frames(audio)) + 0.5) / FPS
    return np.interp(middle_s * PHONES_PER_SECOND - 0.5, np.arange(len(smooth)), smooth)


def align_phones(audio: NDArray[np.float32]) -> list[tuple[str, int, int]]:
    """(ARPAbet phone, start, duration) in hundredths of a second, in order. Raises UserError where no word is heard."""
    from pocketsphinx import Decoder

    pcm = (np.clip(audio, -1.0, 1.0) * 32767).astype("<i2").tobytes()
    decoder = Decoder(samprate=float(SAMPLE_RATE_HZ), loglevel="FATAL")
    _decode(decoder, pcm)
    words = decoder.hyp()
    if words is None or not words.hypstr:
        raise UserError("No English words were heard in the video: leave out --english.")
    decoder.set_alignment()
    _decode(decoder, pcm)
    return [(phone.name, phone.start, phone.duration) for word in decoder.get_alignment() for phone in word]


def _decode(decoder, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, no_search=False, full_utt=True)
    decoder.end_utt()
