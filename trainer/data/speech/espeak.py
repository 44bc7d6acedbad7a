"""eSpeak NG (Debian `libespeak-ng1`) through ctypes: 131 languages, some hundred voice variants, exact phoneme times.

The library's phoneme events carry the sound's position at which a phoneme starts, in milliseconds, and its IPA name;
the command-line tool would give the times only with voices that are not free to ship.
"""

import ctypes
import ctypes.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import soxr

from trainer.data.speech.utterance import SAMPLE_RATE_HZ, SILENCE, Phone, Utterance

_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEMES_AS_IPA = 1, 2
_PHONEME = 7
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_UTF8, _SSML = 1, 0x10


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The library, once per process: it keeps global state."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise FileNotFoundError("libespeak-ng is not installed; on Debian: apt-get install libespeak-ng1")
        self._library = ctypes.CDLL(name)
        options = _PHONEME_EVENTS | _PHONEMES_AS_IPA
        self._rate_hz = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, options)
        self._samples: list[np.ndarray] = []
        self._starts: list[tuple[float, str]] = []
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    @property
    def data_folder(self) -> Path:
        """Where the library keeps its voices."""
        self._library.espeak_Info.restype = ctypes.c_char_p
        folder = ctypes.c_char_p()
        self._library.espeak_Info(ctypes.byref(folder))
        return Path((folder.value or b"").decode())

    def has_voice(self, voice: str) -> bool:
        """Select `voice` ("en-us+max"); False where the library cannot."""
        return self._library.espeak_SetVoiceByName(voice.encode()) == 0

    def _receive(self, samples, count: int, events) -> int:
        if samples and count > 0:
            self._samples.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != 0:
            if events[index].type == _PHONEME:
                ipa = events[index].id.string.decode("utf-8", "ignore")
                self._starts.append((events[index].audio_position_ms / 1000, ipa))
            index += 1
        return 0

    def say(self, text: str, voice: str, *, rate_wpm: int = 170, pitch: int = 50, pitch_range: int = 50) -> Utterance:
        """Speak `text`. `voice` is language+variant ("en-us+max"); pitch and its range are 0-100, 50 is usual."""
        return self._utter(text, _UTF8, voice, rate_wpm=rate_wpm, pitch=pitch, pitch_range=pitch_range)

    def sing(self, words: Sequence[str], notes: Sequence[int], voice: str, *, rate_wpm: int = 90) -> Utterance:
        """Each of `words` on one note, without a fall; `notes` in semitones round the voice's own pitch, -12 to 12."""
        raised = (round(100 * (2 ** (note / 12) - 1)) for note in notes)
        sung = (
            f'<prosody pitch="{percent:+d}%">{escape(word)}</prosody>'
            for word, percent in zip(words, raised, strict=True)
        )
        text = f"<speak>{' '.join(sung)}</speak>"
        return self._utter(text, _UTF8 | _SSML, voice, rate_wpm=rate_wpm, pitch=50, pitch_range=0)

    def _utter(self, text: str, flags: int, voice: str, *, rate_wpm: int, pitch: int, pitch_range: int) -> Utterance:
        if not self.has_voice(voice):
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((_RATE, rate_wpm), (_VOLUME, 90), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._samples, self._starts = [], []
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, flags, None, None)
        self._library.espeak_Synchronize()
        if not self._samples:
            raise ValueError(f"espeak-ng said nothing for {text!r} in {voice!r}")
        raw = np.concatenate(self._samples).astype(np.float32) / 32768
        wave = soxr.resample(raw, self._rate_hz, SAMPLE_RATE_HZ).astype(np.float32)
        return Utterance(wave, self._phones(len(wave) / SAMPLE_RATE_HZ), f"espeak {voice}")

    def _phones(self, duration_s: float) -> tuple[Phone, ...]:
        starts = [(0.0, SILENCE), *((t, _clean(ipa)) for t, ipa in self._starts)]
        ends = [*(t for t, _ in starts[1:]), duration_s]
        return tuple(Phone(ipa, t, end) for (t, ipa), end in zip(starts, ends, strict=True) if end > t)


def _clean(ipa: str) -> str:
    return ipa.strip("ˈˌ _|'ː:.-")


@cache
def espeak() -> Espeak:
    """This process's library."""
    return Espeak()


@cache
def variants() -> tuple[str, ...]:
    """The library's voice variants that load ("max", "f2", …), sorted."""
    library = espeak()
    names = sorted(path.name for path in library.data_folder.joinpath("voices", "!v").iterdir())
    return tuple(name for name in names if library.has_voice(f"en-us+{name}"))
