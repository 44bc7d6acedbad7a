"""Singing: every word on its note, slower than speech, with phones that cover the sound."""

import librosa
import numpy as np
import pytest

from trainer.data.speech.espeak import espeak
from trainer.data.speech.utterance import SAMPLE_RATE_HZ

try:
    espeak()
except FileNotFoundError as error:
    pytest.skip(str(error), allow_module_level=True)

WORDS = ["mama", "mama"]


def test_a_higher_note_is_a_higher_pitch():
    sung = espeak().sing(WORDS, [0, 12], "en-us")
    pitch_hz, voiced, _ = librosa.pyin(sung.wave, fmin=60, fmax=600, sr=SAMPLE_RATE_HZ)
    heard = pitch_hz[voiced]
    first, second = heard[: len(heard) // 3], heard[-len(heard) // 3 :]
    assert 6 < 12 * np.log2(np.median(second) / np.median(first)) < 18


def test_a_song_is_slower_than_speech_and_its_phones_cover_it():
    sung, said = espeak().sing(WORDS, [0, 4], "en-us"), espeak().say(" ".join(WORDS), "en-us")
    assert len(sung.wave) > 1.2 * len(said.wave)
    assert sung.phones[0].start_s == 0
    assert all(one.end_s == next_.start_s for one, next_ in zip(sung.phones, sung.phones[1:], strict=False))
    assert sung.phones[-1].end_s == pytest.approx(len(sung.wave) / SAMPLE_RATE_HZ)
