"""Negative-DPO arms with the smallest models: negatives are what the model made, by the rule, and are unlearned."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.contract.errors import UserError
from research import small_corpus as small_corpus_module
from research import unlearning
from research.small_corpus import small_corpus
from research.unlearning import Shared, unlearn
from tests.tiny_nano import tiny_nano
from tests.trainer.small_runs import hum_short_clips
from trainer.data.speech.corpus import Corpus
from trainer.metrics.motion import head_jerk
from trainer.objectives import wide_mouths
from trainer.objectives.wide_mouths import held_out_clips, opening_limit, wide_negatives


@pytest.fixture
def few_candidates(monkeypatch):
    hum_short_clips(monkeypatch)
    monkeypatch.setattr(unlearning, "CANDIDATES", 5)


@pytest.fixture
def shared(toy_corpus_folder: Path, tmp_path: Path) -> Shared:
    corpus = tmp_path / "corpus"
    for split in ("train", "heldout_voice"):
        shutil.copytree(toy_corpus_folder / "train", corpus / split)
    return Shared(corpus, tmp_path / "features.npy", tmp_path, steps=12)


def test_negatives_are_the_clips_above_the_limit_alone(few_candidates):
    model = tiny_nano()
    negatives, judged = wide_negatives(model, -np.inf, 5, draw=1)
    assert judged == 5 and len(negatives) >= 5
    # A second of video: 1 + 7 latent frames, the picture in front of them or the first of them.
    assert {negative.latents.shape[0] for negative in negatives} == {16}
    assert all(0 < negative.mask[:, 1:].mean() < 1 for negative in negatives)
    assert wide_negatives(model, np.inf, 5, draw=1) == ([], 0)


def test_the_limit_is_what_three_of_five_of_a_models_own_clips_stay_below(few_candidates, monkeypatch):
    model = tiny_nano()
    monkeypatch.setattr(wide_mouths, "_CALIBRATION_TRACKS", 0)
    monkeypatch.setattr(wide_mouths, "_CALIBRATION_SEED", 0)
    limit = opening_limit(model)
    assert sum(made.opening > limit for made in held_out_clips(model, 5)) == 2


@pytest.mark.parametrize(("method", "blocks"), [("sft", 0), ("dpo", 1), ("ndpo", 2)])
@pytest.mark.usefixtures("few_candidates", "small_recipes")
def test_every_method_trains_and_says_what_it_did(method, blocks, shared, monkeypatch):
    monkeypatch.setattr(unlearning, "opening_limit", lambda model: -np.inf)
    monkeypatch.setattr(unlearning, "SFT_SHARE", 0.5)
    start = tiny_nano()
    start.checkpoint_sha256 = "0" * 64
    before = {name: weight.clone() for name, weight in start.transformer.named_parameters()}
    model, told = unlearn(start, method, shared, seed=0)
    assert sum("5 of 5 mouths open wider" in line for line in told) == blocks
    assert any(not np.array_equal(weight, before[name]) for name, weight in model.transformer.named_parameters())
    assert all(np.array_equal(weight, before[name]) for name, weight in start.transformer.named_parameters())


def test_a_model_without_the_defect_has_nothing_to_unlearn(few_candidates, small_recipes, shared, monkeypatch):
    monkeypatch.setattr(unlearning, "opening_limit", lambda model: np.inf)
    monkeypatch.setattr(unlearning, "SFT_SHARE", 0.5)
    start = tiny_nano()
    start.checkpoint_sha256 = "0" * 64
    _, told = unlearn(start, "ndpo", shared, seed=0)
    assert told.count("too few to learn from, SFT instead") == 2


def test_too_few_steps_are_refused_before_anything_is_made(shared):
    with pytest.raises(UserError, match="allow more minutes"):
        unlearn(tiny_nano(), "ndpo", shared, seed=0)
    assert sorted(path.name for path in shared.runs.iterdir()) == ["corpus"]


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
