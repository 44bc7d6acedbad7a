"""A short training on from the model that all arms share, alike in everything but what the arm changes.

Batches are keyed by (seed, step), so arms of one seed see the same clips, noise and timesteps.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from engine.contract.errors import UserError
from engine.nano.model import NanoModel
from research.omissions import omitting
from research.plan import Training
from trainer.data.speech.corpus import Corpus
from trainer.data.synthetic_clips import ClipMaker
from trainer.loop.ema import EMA, stage_decay
from trainer.loop.flow import flow_loss, predict
from trainer.loop.recipes import SEEN, SFTRecipe, nano_soup
from trainer.subjects.features import corpus_features
from trainer.subjects.nano_batches import NanoBatches, NanoVelocity, cell_weights
from trainer.subjects.nano_subject import build_model

FACES = 1024
"""In the pool that clips are drawn from."""
STAGES = 3
LEARNING_RATE = 3e-4
WARMUP_STEPS = 20


def recipe_of(training: Training, steps: int, seed: int) -> SFTRecipe:
    """The recipe of an arm: `steps` in three equal stages."""
    if steps < STAGES:
        raise UserError(f"A training of {steps} steps cannot have {STAGES} stages: allow more minutes.", "minutes")
    each = steps // STAGES
    recipe = nano_soup(training.schedule, (each, each, steps - 2 * each))
    always = {name: (0.0, 0.0) for name in recipe.phda}
    return replace(
        recipe,
        seed=seed,
        learning_rate=LEARNING_RATE,
        warmup_steps=WARMUP_STEPS,
        phda=recipe.phda if training.phda else always,
    )


def train_on(
    start: NanoModel,
    training: Training,
    omission: str | None,
    *,
    corpus: Corpus,
    features: Path,
    steps: int,
    seed: int,
    learning_rate: float = LEARNING_RATE,
) -> tuple[NanoModel, list[float]]:
    """`start` trained for `steps`; returns the model and the loss of every step.

    `features` is where the corpus's audio features are, or are to be kept. Raises UserError where a loss is no longer a
    number.
    """
    recipe = recipe_of(training, steps, seed)
    clips = ClipMaker(corpus, seed, FACES)
    model = build_model(recipe, clips, start.audio_encoder, start)
    heard = corpus_features(model.audio_encoder.eval(), corpus, features, recipe.feature_versions, 0)
    batches, velocity, weights = NanoBatches(recipe, clips, heard), NanoVelocity(model), cell_weights(recipe)
    trained = list(velocity.parameters())
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    ema = EMA(model, decay=0.0, seen=SEEN)
    losses: list[float] = []
    with omitting(model.transformer, omission):
        for step in range(recipe.steps):
            warm = min(1.0, (step + 1) / WARMUP_STEPS)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * warm * (1 + np.cos(np.pi * step / recipe.steps)) / 2
            batch = batches.draw(model, step)
            loss = flow_loss(predict(velocity, batch), batch, weights)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, recipe.gradient_clip)
            optimizer.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise UserError(f"The training diverged at step {step}: its loss is no longer a number.", None)
            if training.ema:
                ema.decay = stage_decay(recipe.old_share, recipe.stage_at(step)[1].steps)
                ema.update(model)
                if recipe.stage_ends_at(step):
                    ema.copy_to(model)
    return model.eval().requires_grad_(False), losses
