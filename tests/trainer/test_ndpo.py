"""A block of Negative-DPO on a tiny nano: from the sampler's own clips to a model that makes them less."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.contract.errors import UserError
from engine.contract.variants import NANO
from engine.nano.animator import encode_conditions
from engine.nano.model import NanoModel
from engine.sampling.denoise import denoise
from tests.trainer.small_runs import TINY, TINY_BLOCK, weights, with_held_out
from trainer.metrics.held_out import synthetic_reference
from trainer.objectives import ndpo
from trainer.objectives.ndpo_loss import LOSSES
from trainer.subjects.nano_subject import NanoSubject
from trainer.subjects.negatives import Negative, NegativePool, bad_latents, negatives_of

FRAMES = 33
"""Nine latent frames: two windows of the tiny model's six."""


@pytest.fixture(scope="module")
def model(nano_folder: Path) -> NanoModel:
    return NanoModel.load(nano_folder)


@pytest.fixture(scope="module")
def corpus(toy_corpus_folder, tmp_path_factory) -> Path:
    return with_held_out(toy_corpus_folder, tmp_path_factory.mktemp("split"))


def generated(model: NanoModel, seed: int, bad: torch.Tensor | None = None) -> list[Negative]:
    """A clip that the model makes of noise, and the windows of it that are bad."""
    wave = np.random.default_rng(seed).normal(0, 0.05, FRAMES * 640).astype(np.float32)
    conditions = encode_conditions(model, synthetic_reference(model, seed), wave, FRAMES, prompt="happy")
    settings = NANO.default_settings.model_copy(
        update={"sampling": NANO.default_settings.sampling.model_copy(update={"steps": 2})}
    )
    latents = denoise(
        model.transformer,
        conditions,
        settings,
        window_latent_frames=model.window_latent_frames,
        seed=seed,
        watch=lambda done, clean: None,
    )
    marked = bad_latents(latents.shape[2], [(0, FRAMES)]) if bad is None else bad
    return negatives_of(conditions, latents, marked, "happy", settings, window_latent_frames=model.window_latent_frames)


@pytest.fixture(scope="module")
def negatives(model) -> list[Negative]:
    return [negative for seed in range(3) for negative in generated(model, seed)]


def train(recipe, sft, start, negatives, corpus, run, **how):  # noqa: PLR0917 (as short as the tests want it)
    subject = NanoSubject(corpus, start)
    return ndpo.train(recipe, sft, subject, subject.pool_of(negatives, recipe.seed), run, **how)


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "loss.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[tuple[float, float, float]]:
    return [(row["sft"], row["ndpo"], row["distance"]) for row in rows(run)]


def test_a_clip_is_seen_in_the_windows_of_its_generation(model, negatives):
    assert len(negatives) == 3 * 2
    for negative in negatives:
        assert negative.latents.shape == (16, 1 + model.window_latent_frames, 8, 8)
        assert negative.audio.shape[0] == 4 * model.window_latent_frames + 1
        assert negative.mask[0, 0].sum() == 0 and bool((negative.mask[0, 1:] == 1).all())
    fronts = [negative.known[:4, 0, 0, 0].tolist() for negative in negatives[:2]]
    assert fronts == [[1, 1, 1, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("span", "bad"), [((0, 1), [1]), ((1, 5), [1]), ((4, 6), [1, 2]), ((5, 9), [2]), ((30, 33), [8])]
)
def test_a_span_of_frames_marks_the_latents_that_hold_it(span, bad):
    assert bad_latents(9, [span]).nonzero().flatten().tolist() == bad


def test_windows_without_anything_bad_are_left_out(model):
    assert len(generated(model, 0, bad_latents(9, [(1, 5)]))) == 1
    assert generated(model, 0, torch.zeros(9)) == []


def test_draws_are_keyed_by_seed_step_and_index(model, negatives):
    pool = NegativePool(negatives, 4, model)
    once, more = pool.draw(7, 2, 3.0), pool.draw(7, 5, 3.0)
    for name in ("x0", "eps", "sigma"):
        assert torch.equal(getattr(once, name), getattr(more, name)[:2])
    assert not torch.equal(once.eps, pool.draw(8, 2, 3.0).eps)


def test_a_block_pushes_the_model_off_its_negatives_and_says_so(model, negatives, corpus, tmp_path):
    recipe = replace(TINY_BLOCK, steps=30, check_every=10, learning_rate_share=2.0, held_out_slack=10.0)
    block = train(recipe, TINY, model, negatives, corpus, tmp_path / "run")
    assert block.stopped_by is None and block.step == 30
    course = rows(tmp_path / "run")
    assert course[0]["distance"] == 0
    assert np.mean([row["distance"] for row in course[-10:]]) > 0.001
    assert course[9]["held_out"] > 0 and "held_out" not in course[8]
    assert NanoModel.load(block.model).description["ndpo"]["steps_done"] == 30


def test_a_block_that_was_killed_goes_on_to_the_same_losses_and_weights(model, negatives, corpus, tmp_path):
    whole = train(TINY_BLOCK, TINY, model, negatives, corpus, tmp_path / "whole")
    train(TINY_BLOCK, TINY, model, negatives, corpus, tmp_path / "killed", stop_after=4)
    with (tmp_path / "killed" / "loss.jsonl").open("a") as log:
        log.write('{"step": 4, "sft": 9.0}\n{"step": 5, "sf')  # logged, but its weights were never saved
    resumed = train(TINY_BLOCK, TINY, model, negatives, corpus, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert all(torch.equal(tensor, weights(resumed.model)[name]) for name, tensor in weights(whole.model).items())
    assert train(TINY_BLOCK, TINY, model, negatives, corpus, tmp_path / "killed") == resumed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate_share": 1e6, "held_out_slack": 1e9}, "twice the budget|no longer a number"),
        ({"learning_rate_share": 30.0, "ndpo_weight": 0.0, "sft_weight": -1.0}, "held-out"),
        ({"sft_weight": float("nan")}, "no longer a number"),
    ],
)
def test_a_guard_stops_the_block_and_what_passed_before_is_kept(changes, words, model, negatives, corpus, tmp_path):  # noqa: PLR0917 (fixtures)
    recipe = replace(TINY_BLOCK, steps=20, forget_budget=0.05, **changes)
    block = train(recipe, TINY, model, negatives, corpus, tmp_path / "run")
    assert block.stopped_by is not None and any(word in block.stopped_by for word in words.split("|"))
    assert block.step < 20
    kept = NanoModel.load(block.model)
    if block.step == 0:
        assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_runs(loss, model, negatives, corpus, tmp_path):
    recipe = replace(TINY_BLOCK, steps=2, loss=loss)
    train(recipe, TINY, model, negatives, corpus, tmp_path / "run")
    assert all(np.isfinite(row["ndpo"]) for row in rows(tmp_path / "run"))


def test_the_reference_may_be_the_model_without_its_lora(model, negatives, corpus, tmp_path):
    recipe = replace(TINY_BLOCK, lora_rank=2)
    train(recipe, TINY, model, negatives, corpus, tmp_path / "copy")
    block = train(replace(recipe, reference="lora-off"), TINY, model, negatives, corpus, tmp_path / "other")
    for one, other in zip(losses(tmp_path / "copy"), losses(tmp_path / "other"), strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=5e-6)
    assert set(NanoModel.load(block.model).state_dict()) == set(model.state_dict())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"reference": "lora-off"}, "rank"),
        ({"reference": "memory"}, "memory"),
    ],
)
def test_a_reference_that_cannot_be_is_refused(how, words, model, negatives, corpus, tmp_path):  # noqa: PLR0917 (fixtures)
    with pytest.raises(UserError, match=words):
        train(replace(TINY_BLOCK, **how), TINY, model, negatives, corpus, tmp_path / "run")


def test_nothing_to_learn_from_is_said(model, negatives, corpus, tmp_path):
    with pytest.raises(UserError, match="no negatives"):
        train(TINY_BLOCK, TINY, model, [], corpus, tmp_path / "run")
    with pytest.raises(UserError, match="npo"):
        train(replace(TINY_BLOCK, loss="ppo"), TINY, model, negatives, corpus, tmp_path / "run")
