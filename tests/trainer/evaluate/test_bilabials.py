import numpy as np
import pytest

from engine.contract.variants import NANO
from engine.nano.model import NanoModel
from tests.tiny_nano import tiny_nano
from trainer.data.speech.corpus import Track
from trainer.data.speech.utterance import SILENCE, Phone
from trainer.data.speech.visemes import mouth_curves
from trainer.metrics.bilabials import Closures, count_closures, count_contacts, held_out_closures, lips_apart_mm
from trainer.metrics.held_out import lips_apart, synthetic_reference
from trainer.metrics.true_motion import act

FRAMES = 150


def babble(seed: int) -> Track:
    """Syllables of a consonant and a vowel, 60 to 150 ms each phone, with a buzz in the vowels."""
    random = np.random.default_rng(seed)
    phones, clock_s = [Phone(SILENCE, 0.0, 0.4)], 0.4
    while clock_s < FRAMES / 25:
        for choices in ("pbmtdkszlf", "aeiouɛɑ"):
            end_s = clock_s + random.uniform(0.06, 0.15)
            phones.append(Phone(str(random.choice(list(choices))), clock_s, end_s))
            clock_s = end_s
    times_s = (np.arange(FRAMES) + 0.5) / 25
    curves = mouth_curves(tuple(phones), times_s)
    wave = 0.2 * np.repeat(curves[:, 0], 640) * np.sin(2 * np.pi * 120 * np.arange(FRAMES * 640) / 16000)
    return Track(wave.astype(np.float32), curves, "babble", tuple(phones))


@pytest.fixture(scope="module")
def nano() -> NanoModel:
    return NanoModel.load(NANO.folder)


def test_lips_of_true_motion_close_on_bilabials(nano):
    counted, touched = Closures(0, 0), Closures(0, 0)
    for seed in range(12):
        track, reference = babble(seed), synthetic_reference(nano, seed)
        landmarks_px = act(nano.autoencoder, reference, track, seed=seed)
        counted += count_closures(lips_apart(landmarks_px), track.phones)
        touched += count_contacts(landmarks_px, track.phones)
    assert counted.total > 80
    assert counted.share >= 0.98 and touched.share >= 0.98


def test_lips_three_millimetres_apart_close_in_a_wide_mouth_but_do_not_touch(nano):
    landmarks_px = np.repeat(synthetic_reference(nano, 0).landmarks_px[None], 50, axis=0)
    lower = [87, 14, 317]
    per_mm_px = np.linalg.norm(landmarks_px[0, 33] - landmarks_px[0, 263]) / 90
    gap_mm = np.full(50, 20.0)
    gap_mm[10:14] = 3.0
    landmarks_px[:, lower, 1] += (gap_mm - lips_apart_mm(landmarks_px))[:, None] * per_mm_px
    phones = (Phone("b", 0.4, 0.56),)
    assert count_closures(lips_apart(landmarks_px), phones) == Closures(1, 1)
    assert count_contacts(landmarks_px, phones) == Closures(0, 1)
    landmarks_px[12, lower, 1] -= 2.5 * per_mm_px
    assert count_contacts(landmarks_px, phones) == Closures(1, 1)
    assert count_contacts(3 * landmarks_px, phones) == Closures(1, 1), "whatever the picture's size"


def test_lips_that_say_something_else_close_by_chance_only():
    counted = Closures(0, 0)
    for seed in range(12):
        counted += count_closures(babble(seed + 100).curves[:, 0], babble(seed).phones)
    assert counted.share < 0.6


def test_a_mouth_that_stays_open_closes_on_nothing_and_a_shut_frame_counts():
    phones = (Phone("a", 0.0, 0.5), Phone("p", 0.5, 0.53), Phone("a", 0.53, 1.0), Phone("b", 1.0, 3.0))
    apart = np.ones(50)
    assert count_closures(apart, phones) == Closures(0, 1)
    apart[12] = 0.1
    assert count_closures(apart, phones) == Closures(1, 1)
    apart[12], apart[20] = 1.0, 0.1
    assert count_closures(apart, phones) == Closures(0, 1)


def test_a_length_mark_or_aspiration_does_not_hide_a_bilabial_and_a_pause_is_none():
    phones = (Phone("pʰ", 0.0, 0.1), Phone("mː", 0.1, 0.2), Phone(SILENCE, 0.2, 0.3), Phone("f", 0.3, 0.4))
    assert count_closures(np.linspace(0, 1, 50), phones) == Closures(2, 2)


def test_a_model_is_counted_on_every_track():
    tracks = [babble(0), babble(1)]
    spoken = sum(count_closures(np.ones(FRAMES), track.phones).total for track in tracks)
    counted = held_out_closures(tiny_nano(), tracks=tracks)
    assert counted.closures.total == counted.contacts.total == spoken
