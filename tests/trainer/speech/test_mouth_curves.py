import numpy as np
import pytest

from trainer.data.speech.utterance import ARPABET, SILENCE, Phone
from trainer.data.speech.visemes import CURVES, REST, closures, mouth_curves, mouth_targets

APERTURE, WIDTH, BITE = CURVES.index("aperture"), CURVES.index("width"), CURVES.index("bite")


def spoken(*ipas: str, length_s: float = 0.1) -> tuple[Phone, ...]:
    starts = np.arange(len(ipas)) * length_s
    return tuple(Phone(ipa, start, start + length_s) for ipa, start in zip(ipas, starts, strict=True))


def at_middle_of(phones: tuple[Phone, ...], index: int) -> np.ndarray:
    middle = (phones[index].start_s + phones[index].end_s) / 2
    return mouth_curves(phones, np.array([middle]))[0]


@pytest.mark.parametrize("ipa", ["p", "b", "m"])
@pytest.mark.parametrize("vowel", ["ɑ", "æ", "i", "u"])
def test_lips_close_on_bilabials_between_any_vowels(ipa, vowel):
    phones = spoken("", vowel, ipa, vowel, "", length_s=0.08)
    assert at_middle_of(phones, 2)[APERTURE] < 0.08


def test_open_vowels_open_more_than_close_ones():
    apertures = [at_middle_of(spoken("", vowel, ""), 1)[APERTURE] for vowel in ("ɑ", "ɛ", "ɪ", "u")]
    assert apertures == sorted(apertures, reverse=True)


def test_rounded_vowels_narrow_and_spread_ones_widen():
    assert at_middle_of(spoken("", "u", ""), 1)[WIDTH] < -0.5
    assert at_middle_of(spoken("", "i", ""), 1)[WIDTH] > 0.4


def test_the_lower_lip_goes_under_the_teeth_on_f():
    assert at_middle_of(spoken("ɑ", "f", "ɑ"), 1)[BITE] > 0.8


def test_the_mouth_rests_in_a_long_pause():
    phones = (*spoken("ɑ"), Phone(SILENCE, 0.1, 1.1))
    assert mouth_curves(phones, np.array([0.6]))[0, APERTURE] < 0.01


def test_curves_are_continuous():
    phones = spoken(*"hɛloʊmaɪbɪɡbɑbi")
    curves = mouth_curves(phones, np.linspace(0, 1.5, 1501))
    assert np.abs(np.diff(curves, axis=0)).max() < 0.1


def test_every_phone_of_the_english_engines_has_a_posture():
    for ipa in ARPABET.values():
        assert ipa == SILENCE or mouth_targets(ipa) != [REST]


def test_lips_that_close_between_vowels_are_a_closure_and_a_pause_is_none():
    pause = Phone(SILENCE, 0.48, 2.0)
    phones = (*spoken("ɑ", "b", "ɑ", length_s=0.16), pause)
    middles_s = (np.arange(50) + 0.5) / 25
    closed = closures(mouth_curves(phones, middles_s)[:, APERTURE])
    assert closed[(middles_s > 0.22) & (middles_s < 0.26)].all()
    assert not closed[middles_s < 0.14].any() and not closed[middles_s > 1.0].any()


@pytest.mark.parametrize("length_s", [0.03, 0.05, 0.09])
@pytest.mark.parametrize("vowel", ["ɑ", "æ", "i", "u"])
def test_lips_meet_in_some_video_frame_of_every_bilabial_however_short(vowel, length_s):
    for start_s in np.linspace(0.2, 0.24, 8, endpoint=False):
        phones = (
            Phone(vowel, 0.0, start_s),
            Phone("b", start_s, start_s + length_s),
            Phone(vowel, start_s + length_s, 0.6),
        )
        middles_s = (np.arange(15) + 0.5) / 25
        during = (middles_s >= start_s - 0.02) & (middles_s < start_s + length_s + 0.02)
        assert mouth_curves(phones, middles_s)[during, APERTURE].min() < 0.06


def test_a_short_vowel_stays_short_of_where_a_long_one_gets():
    short, long = (at_middle_of(spoken("t", "ɑ", "t", length_s=length_s), 1)[APERTURE] for length_s in (0.04, 0.2))
    assert short < long
