import numpy as np
import pytest
import soundfile

from engine.contract.errors import UserError
from trainer.metrics.visemes import OPENNESS, align_phones, expected_openness

VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}
STOPS_AND_NASALS = {"P", "B", "T", "D", "K", "G", "CH", "JH", "M", "N", "NG"}
CONTINUANTS = {"F", "V", "TH", "DH", "S", "Z", "SH", "ZH", "HH", "L", "R", "W", "Y"}
ARPABET = VOWELS | STOPS_AND_NASALS | CONTINUANTS


def test_every_phone_of_english_has_an_openness():
    assert set(OPENNESS) == ARPABET
    assert all(0.0 <= openness <= 1.0 for openness in OPENNESS.values())
    assert {phone for phone, openness in OPENNESS.items() if openness == 0.0} == {"P", "B", "M"}


def test_sound_without_words_is_refused():
    with pytest.raises(UserError, match="--english"):
        expected_openness(np.zeros(3_200, dtype=np.float32))


@pytest.fixture(scope="module")
def spoken(speech_wav) -> np.ndarray:
    return soundfile.read(speech_wav, dtype="float32")[0]


def test_phones_cover_the_sound_in_order(spoken):
    phones = align_phones(spoken)
    ends = [start + duration for _, start, duration in phones]
    assert [start for _, start, _ in phones] == [0, *ends[:-1]]
    assert abs(ends[-1] / 100 - len(spoken) / 16_000) < 0.1
    assert {name for name, _, _ in phones} <= ARPABET | {"SIL", "+SPN+", "+NSN+"}


def test_the_mouth_is_expected_open_in_speech_and_closed_in_pauses(spoken):
    openness = expected_openness(spoken)
    assert len(openness) == len(spoken) // 640
    assert openness.max() > 0.5 and openness.min() >= 0.0
    assert openness[:8].max() < 0.1 and openness[-8:].max() < 0.1
