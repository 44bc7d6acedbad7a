"""Packed speech: what is unpacked lies where it lay, and the bundled minutes are whole."""

import numpy as np
import pytest

from engine.contract.errors import UserError
from engine.contract.unlearning import BUNDLED_SPEECH, HELD_OUT_SPLIT, PACKED_WAVES_NAME
from trainer.data.speech.corpus import SAMPLES_PER_FRAME, Corpus, pack, unpack


def clicks(frames: int) -> np.ndarray:
    """A short tone at the start of every tenth frame."""
    wave = np.zeros(frames * SAMPLES_PER_FRAME)
    tone = np.sin(np.arange(SAMPLES_PER_FRAME) / 8) * np.hanning(SAMPLES_PER_FRAME)
    for start in range(0, len(wave), 10 * SAMPLES_PER_FRAME):
        wave[start : start + SAMPLES_PER_FRAME] = tone
    return (wave * 20_000).astype(np.int16)


@pytest.mark.parametrize("frames", [40, 113])
def test_sound_is_not_moved_by_packing(tmp_path, frames):
    wave = clicks(frames)
    pack(wave, tmp_path / PACKED_WAVES_NAME)
    again = unpack(tmp_path / PACKED_WAVES_NAME, len(wave))
    assert len(again) == len(wave)
    likeness = [np.corrcoef(wave, np.roll(again, shift))[0, 1] for shift in range(-40, 41)]
    assert abs(np.argmax(likeness) - 40) <= 2 and max(likeness) > 0.95


def test_sound_of_another_length_is_refused(tmp_path):
    pack(clicks(40), tmp_path / PACKED_WAVES_NAME)
    with pytest.raises(ValueError, match="are wanted"):
        unpack(tmp_path / PACKED_WAVES_NAME, 90 * SAMPLES_PER_FRAME)


def test_the_bundled_held_out_voices_are_a_whole_corpus():
    corpus = Corpus(BUNDLED_SPEECH / HELD_OUT_SPLIT)
    last = corpus.index[-1]
    assert last["first_frame"] + last["frames"] == len(corpus.curves) == len(corpus.waves) // SAMPLES_PER_FRAME
    assert 60 < len(corpus.curves) / 25 < 180
    # Mouths open where it is loud.
    loud = np.abs(corpus.waves.reshape(-1, SAMPLES_PER_FRAME).astype(float)).mean(1)
    assert np.corrcoef(loud, np.asarray(corpus.curves[:, 0], float))[0, 1] > 0.3


def test_no_corpus_is_still_said(tmp_path):
    with pytest.raises(UserError, match="No whole corpus"):
        Corpus(tmp_path)
