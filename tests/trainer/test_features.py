"""A corpus's audio features are made once, and what lies in their place is not taken for them."""

import numpy as np
import pytest
import torch

from engine.contract.errors import UserError
from engine.nano.encoders import NanoAudioEncoder
from tests.trainer.small_runs import room_for
from trainer.data.speech.corpus import Corpus
from trainer.subjects.features import corpus_features

CHANNELS = 16


@pytest.fixture
def make(toy_corpus_folder, tmp_path):
    torch.manual_seed(0)
    encoder = NanoAudioEncoder(channels=CHANNELS).eval()
    corpus = Corpus(toy_corpus_folder / "train")

    def features(versions: int = 1) -> np.ndarray:
        return corpus_features(encoder, corpus, tmp_path / "features.npy", versions, seed=0)

    return features


def test_features_are_made_once(make, tmp_path):
    made = np.array(make())
    assert made.shape == (1, 600, CHANNELS) and np.isfinite(made).all()
    written_ns = (tmp_path / "features.npy").stat().st_mtime_ns
    assert np.array_equal(make(), made)
    assert (tmp_path / "features.npy").stat().st_mtime_ns == written_ns


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:5_000], lambda whole: b"features" * 100])
def test_features_that_are_damaged_are_refused(damage, make, tmp_path):
    make()
    path = tmp_path / "features.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"features.npy are damaged"):
        make()


def test_features_of_another_corpus_or_recipe_are_refused(make):
    make()
    with pytest.raises(UserError, match=r"\[1, 600, 16\] where this one's are \[2, 600, 16\]"):
        make(2)


def test_a_full_disk_is_said_before_features_are_made(make, tmp_path):
    with room_for(10_000), pytest.raises(UserError, match="disk is full"):
        make()
    assert not list(tmp_path.iterdir())
