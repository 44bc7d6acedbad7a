"""The one shape in which every speech engine hands over what it said."""

from dataclasses import dataclass

import numpy as np

SAMPLE_RATE_HZ = 16000
SILENCE = ""
"""The phone of a pause."""


@dataclass(frozen=True)
class Phone:
    """One phone in IPA (`SILENCE` for a pause) from `start_s` to `end_s`."""

    ipa: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Utterance:
    """`wave` float32 [n] in [-1, 1] at 16 kHz, and its phones in order, which cover it without gaps."""

    wave: np.ndarray
    phones: tuple[Phone, ...]
    voice: str


# The ARPABET of American English dictionaries against IPA; flite and festival name their phones so.
ARPABET = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "axr": "ɚ", "ay": "aɪ", "b": "b", "ch": "tʃ",
    "d": "d", "dh": "ð", "dx": "ɾ", "eh": "ɛ", "el": "l", "em": "m", "en": "n", "er": "ɝ", "ey": "eɪ", "f": "f",
    "g": "ɡ", "hh": "h", "hv": "h", "ih": "ɪ", "ix": "ɨ", "iy": "i", "jh": "dʒ", "k": "k", "l": "l", "m": "m",
    "n": "n", "ng": "ŋ", "nx": "n", "ow": "oʊ", "oy": "ɔɪ", "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t",
    "th": "θ", "uh": "ʊ", "uw": "u", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ",
    "pau": SILENCE, "h#": SILENCE, "brth": SILENCE, "ssil": SILENCE, "#": SILENCE,
}  # fmt: skip
