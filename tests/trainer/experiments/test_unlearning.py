"""Negative-DPO arms with the smallest models: negatives are what the model made, by the rule, and are unlearned."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from tests.tiny_nano import tiny_nano
from trainer.experiments import small_corpus as small_corpus_module
from trainer.experiments import unlearning
from trainer.experiments.measures import head_jerk
from trainer.experiments.small_corpus import small_corpus
from trainer.experiments.unlearning import Shared, collect_negatives, unlearn
from trainer.speech.corpus import Corpus, Track


def hums(splits, count, clip_s):
    """Tracks without any speech program."""
    frames = round(25 * clip_s)
    for number in range(count):
        wave = 0.2 * np.sin(2 * np.pi * (120 + 10 * number) * np.arange(frames * 640) / 16000)
        yield Track(wave.astype(np.float32), np.zeros((frames, 5), np.float32), "hum", ())


@pytest.fixture
def few_candidates(monkeypatch):
    monkeypatch.setattr(unlearning, "held_out_tracks", hums)
    monkeypatch.setattr(unlearning, "CANDIDATES", 5)
    monkeypatch.setattr(unlearning, "CLIP_S", 1.0)
    monkeypatch.setattr(unlearning, "JERKY", 0.0)


@pytest.fixture
def shared(toy_corpus_folder: Path, tmp_path: Path) -> Shared:
    corpus = tmp_path / "corpus"
    for split in ("train", "heldout_voice"):
        shutil.copytree(toy_corpus_folder / "train", corpus / split)
    return Shared(corpus, tmp_path / "features.npy", tmp_path, steps=12)


def test_negatives_are_the_clips_above_the_rule_alone(few_candidates, monkeypatch):
    negatives, judged = collect_negatives(tiny_nano(), seed=0)
    assert judged == 5 and len(negatives) >= 5
    # A second of video: 1 + 7 latent frames, the picture in front of them or the first of them.
    assert {negative.latents.shape[0] for negative in negatives} == {16}
    monkeypatch.setattr(unlearning, "JERKY", 1e9)
    assert collect_negatives(tiny_nano(), seed=0) == ([], 0)


@pytest.mark.parametrize(("method", "blocks"), [("sft", 0), ("dpo", 1), ("ndpo", 2)])
def test_every_method_trains_and_says_what_it_did(method, blocks, few_candidates, small_recipes, shared):
    start = tiny_nano()
    start.checkpoint_sha256 = "0" * 64
    before = {name: weight.clone() for name, weight in start.transformer.named_parameters()}
    model, told = unlearn(start, method, shared, seed=0)
    assert sum("5 of 5 clips jerky" in line for line in told) == blocks
    assert any(not np.array_equal(weight, before[name]) for name, weight in model.transformer.named_parameters())
    assert all(np.array_equal(weight, before[name]) for name, weight in start.transformer.named_parameters())


def test_a_model_without_the_defect_has_nothing_to_unlearn(few_candidates, small_recipes, shared, monkeypatch):
    monkeypatch.setattr(unlearning, "JERKY", 1e9)
    start = tiny_nano()
    start.checkpoint_sha256 = "0" * 64
    _, told = unlearn(start, "ndpo", shared, seed=0)
    assert told.count("too few to learn from, SFT instead") == 2


def test_a_steady_turn_has_no_jerk_and_a_swing_has_its_own():
    times_s = np.arange(200) / 25
    still = np.zeros_like(times_s)
    assert head_jerk(np.stack([0.1 * times_s, still, still], axis=1)) == pytest.approx(0.0, abs=1e-6)
    swing = np.stack([0.1 * np.sin(2 * np.pi * times_s), still, still], axis=1)
    assert head_jerk(swing) == pytest.approx(0.1 * (2 * np.pi) ** 3 / np.sqrt(2), rel=0.02)


def test_a_small_corpus_is_the_beginning_of_the_whole_one(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(small_corpus_module, "TRAIN_FRAMES", 100)
    monkeypatch.setattr(small_corpus_module, "HELD_OUT_FRAMES", 50)
    folder = small_corpus(shared.corpus, tmp_path / "small")
    part, whole = Corpus(folder / "train"), Corpus(shared.corpus / "train")
    np.testing.assert_array_equal(part.curves, whole.curves[:100])
    np.testing.assert_array_equal(part.wave(3, 5), whole.wave(3, 5))
    assert len(part.waves) == 64_000 and len(Corpus(folder / "heldout_voice").curves) == 50
    assert json.loads((folder / "train" / "index.json").read_text()) == []
    with pytest.raises(UserError, match="No whole corpus"):
        small_corpus(tmp_path / "nowhere", tmp_path / "other")
