"""SFT alone, one block of DPO and SFT, or cycles of NDPO and SFT: as many updates at one rate on the same clips.

The negatives are made by the model itself, with its real sampler, on voices and faces that nothing is measured on:
those of its clips whose mouths open too wide (`wide_mouths`), by what the starting model's own clips do.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from engine.nano.model import NanoModel
from research.plan import Training
from research.short_training import LEARNING_RATE, recipe_of, train_on
from trainer.data.speech.corpus import Corpus
from trainer.loop.recipes import forgetting
from trainer.objectives import ndpo
from trainer.objectives.wide_mouths import opening_limit, wide_negatives
from trainer.subjects.nano_subject import NanoSubject

CANDIDATES = 32
"""Clips that are made and judged before each block."""
LEAST_NEGATIVES = 4
SFT_SHARE = 0.1
"""Of the updates, behind blocks: as many as theirs take back most of what they moved (numbers in LOG.md)."""


@dataclass(frozen=True)
class Shared:
    """What trainings use in common: the small corpus, its features, a folder for runs, updates in all."""

    corpus: Path
    features: Path
    runs: Path
    steps: int


def unlearn(start: NanoModel, method: str, shared: Shared, seed: int) -> tuple[NanoModel, list[str]]:
    """`start` trained on by `method`, one of "sft", "dpo" and "ndpo"; returns the model and what happened.

    sft: all updates. dpo: one block of DPO, SFT_SHARE of the updates SFT behind it. ndpo: the same in two cycles,
    each on negatives of the model that it starts with.
    """
    if method == "sft":
        return _sft(start, shared, shared.steps, seed), [f"{shared.steps} SFT updates"]
    blocks = {"dpo": 1, "ndpo": 2}[method]
    behind = round(SFT_SHARE * shared.steps / blocks)
    each = shared.steps // blocks - behind
    recipe_of(Training(schedule="uniform"), behind, seed)  # too few steps are refused before anything is made
    limit = opening_limit(start)
    model, told = start, list[str]()
    for number in range(blocks):
        negatives, judged = wide_negatives(model, limit, CANDIDATES, seed * 10 + number)
        told.append(f"block {number + 1}: {judged} of {CANDIDATES} mouths open wider than {limit:.2f} of the true one")
        if judged < LEAST_NEGATIVES:
            told.append("too few to learn from, SFT instead")
            model = _sft(model, shared, each + behind, seed + 100 * number)
            continue
        run = shared.runs / f"{method}_{start.checkpoint_sha256[:8]}_{each}_{seed}_{number}"
        recipe = replace(forgetting(), steps=each, loss={"dpo": "dpo", "ndpo": "npo"}[method], seed=seed * 10 + number)
        sft = recipe_of(Training(schedule="uniform"), each, seed)
        subject = NanoSubject(shared.corpus, model, features=shared.features)
        pool = subject.pool_of(negatives, recipe.seed)
        block = ndpo.train(recipe, sft, subject, pool, run)
        told.append(f"{block.step} updates of {recipe.loss}" + (f", {block.stopped_by}" if block.stopped_by else ""))
        model = _sft(NanoModel.load(block.model), shared, behind, seed + 100 * number)
    return model, told


def _sft(model: NanoModel, shared: Shared, steps: int, seed: int) -> NanoModel:
    corpus = Corpus(shared.corpus / "train")
    trained, _ = train_on(
        model,
        Training(schedule="uniform"),
        None,
        corpus=corpus,
        features=shared.features,
        steps=steps,
        seed=seed,
        learning_rate=LEARNING_RATE * forgetting().learning_rate_share,
    )
    # A block of Negative-DPO names the model that it begins with.
    trained.checkpoint_sha256 = f"{model.checkpoint_sha256[:8]} trained on for {steps} steps, seed {seed}"
    return trained
