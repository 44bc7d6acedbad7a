"""The laboratory with the smallest models and corpus: arms run, are kept, and are not run again."""

import numpy as np
import pytest

from engine.contract.errors import UserError
from engine.nano.model import NanoModel
from research import results as results_module
from research.measures import METRICS
from research.plan import Arm, Training
from research.results import Laboratory
from research.short_training import recipe_of, train_on
from tests.tiny_nano import tiny_nano
from trainer.data.speech.corpus import Corpus


def train(start: NanoModel, corpus_folder, tmp_path, training: Training, omission: str | None = None):
    return train_on(
        start,
        training,
        omission,
        corpus=Corpus(corpus_folder / "train"),
        features=tmp_path / "features.npy",
        steps=6,
        seed=0,
    )


def weights(model: NanoModel) -> np.ndarray:
    return np.concatenate([weight.detach().numpy().ravel() for weight in model.transformer.parameters()])


def test_arms_of_one_seed_differ_in_what_they_change_alone(small_recipes, toy_corpus_folder, tmp_path):
    start = tiny_nano()
    first, losses = train(start, toy_corpus_folder, tmp_path, Training())
    again, same_losses = train(start, toy_corpus_folder, tmp_path, Training())
    assert losses == same_losses and len(losses) == 6
    np.testing.assert_array_equal(weights(first), weights(again))
    for training, omission in ((Training(ema=False), None), (Training(), "audio early")):
        other, _ = train(start, toy_corpus_folder, tmp_path, training, omission)
        assert not np.array_equal(weights(first), weights(other))
    assert not np.array_equal(weights(first), weights(start))


def test_stages_share_the_steps_and_too_few_are_refused():
    recipe = recipe_of(Training(schedule="easy-to-hard", phda=False), 10, 3)
    assert [stage.steps for stage in recipe.stages] == [3, 3, 4] and recipe.seed == 3
    assert set(recipe.phda.values()) == {(0.0, 0.0)}
    with pytest.raises(UserError, match="allow more minutes"):
        recipe_of(Training(), 2, 0)


def test_a_result_is_kept_by_everything_that_shaped_it(tmp_path, monkeypatch):
    measured = []

    def measure(model, settings, seed, clips):
        measured.append((settings.guidance.audio, seed, clips))
        return {name: [float(seed)] * clips for name in METRICS}

    # The voices of the real measure need programs that speak, and minutes.
    monkeypatch.setattr(results_module, "measure", measure)
    model = tiny_nano()
    laboratory = Laboratory(model, tmp_path, tmp_path, clips=2, steps=6)
    arm, other = Arm("a", "a"), Arm("b", "b", {"guidance.audio": 1.0})
    first = laboratory.run(arm, 0, lambda said: None)
    assert laboratory.run(arm, 0, lambda said: None) == first and len(measured) == 1
    assert laboratory.run(Arm("another name", "the same"), 0, lambda said: None) == first and len(measured) == 1
    laboratory.run(other, 0, lambda said: None)
    laboratory.run(arm, 1, lambda said: None)
    usual = arm.settings.guidance.audio
    assert measured == [(usual, 0, 2), (1.0, 0, 2), (usual, 1, 2)] and usual != 1.0
    assert Laboratory(model, tmp_path, tmp_path, clips=3, steps=6).kept(arm, 0) is None
    assert Laboratory(model, tmp_path, tmp_path, clips=2, steps=9).kept(arm, 0) == first
