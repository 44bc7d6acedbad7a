"""One block of Negative-DPO for nano: push the model off labelled negatives while it goes on learning from real clips.

Every step takes a real batch, by flow matching as in SFT, and a batch of negatives, by `trainer.ndpo_loss`; model and
frozen reference see the same noise at the same timestep. The reference is the model that the block begins with. Guards
are checked every few steps, and only what passed them is saved: a block that they stop is thereby rolled back.
Draws are keyed by (seed, step, index), so that a killed block goes on to the same weights.
"""

import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from engine.errors import UserError
from engine.model.nano import NanoModel
from trainer.arguments import writable_folder
from trainer.checkpoint import claim, load_state, save_folder, save_state, save_text, trim_log
from trainer.clips import ClipMaker
from trainer.ema import EMA, stage_decay
from trainer.features import corpus_features
from trainer.flow import FlowBatch, flow_errors, predict
from trainer.nano_batches import NanoBatches, NanoVelocity, cell_weights
from trainer.ndpo_loss import LOSSES, USES_MIRROR, USES_POSITIVE_REFERENCE, Errors, beta_of_budget, masked_error
from trainer.negatives import Negative, NegativePool
from trainer.recipes import SEEN, NDPORecipe, SFTRecipe, Stage
from trainer.speech.corpus import Corpus

HELD_OUT_SPLIT = "heldout_voice"
HELD_OUT_BATCHES = 4
_HELD_OUT_STEP = 2**31 - 64
"""The held-out batches are those of steps that no block reaches."""
_DRIFT_MEMORY = 0.8
"""Share of the running mean of D/s that a step leaves as it was."""


@dataclass(frozen=True)
class Block:
    """What a block came to: the model's folder, the step that it is of, and what stopped the block before its end."""

    model: Path
    step: int
    stopped_by: str | None = None


@dataclass
class _Trained:
    """The moving parts of a block."""

    model: NanoModel
    velocity: NanoVelocity
    optimizer: torch.optim.Optimizer
    ema: EMA
    drift: float = 0.0


def train(
    recipe: NDPORecipe,
    sft: SFTRecipe,
    start: NanoModel,
    negatives: Sequence[Negative],
    *,
    corpus_folder: Path,
    run: Path,
    features: Path | None = None,
    stop_after: int | None = None,
) -> Block:
    """Run the block, or go on with it; `run` gets checkpoint.pt, loss.jsonl, model/ and, at the end, block.json.

    `start` is the model to begin with and the reference, `sft` the recipe of the real batches: those of its last stage.
    `features` is where the corpus's audio features are, or are to be kept; default: in `run`. `stop_after` ends the
    block early, at that step. Raises UserError for what cannot be trained on.
    """
    if recipe.loss not in LOSSES:
        raise UserError(f"Unknown loss {recipe.loss!r}: choose one of {', '.join(LOSSES)}.", "loss")
    if not negatives:
        raise UserError("There are no negatives to learn from.", "labels")
    pool = NegativePool(negatives, recipe.seed)
    corpus, held_out = (Corpus(corpus_folder / split) for split in ("train", HELD_OUT_SPLIT))
    writable_folder(run)
    real = replace(sft, stages=(Stage(2**31, sft.stages[-1].tasks),), seed=recipe.seed)
    claim(
        run,
        {
            "recipe": recipe.as_dict(),
            "sft": sft.as_dict(),
            "start_sha256": start.checkpoint_sha256,
            "negatives_sha256": pool.sha256(),
            "corpus_frames": len(corpus.curves),
        },
    )
    finished = run / "block.json"
    if finished.exists():
        done = json.loads(finished.read_text())
        return Block(run / "model", done["step"], done["stopped_by"])
    batches = _batches(real, start, corpus, features or run / "features.npy", sft.feature_versions)
    unheard = _batches(real, start, held_out, run / "heldout_features.npy", 1)
    held = [unheard.draw(start, _HELD_OUT_STEP + number * len(sft.lengths)) for number in range(HELD_OUT_BATCHES)]
    return _Loop(recipe, sft, start, run).run(pool, batches, held, stop_after)


def _batches(real: SFTRecipe, model: NanoModel, corpus: Corpus, features: Path, versions: int) -> NanoBatches:
    """Batches of `corpus` as `model` hears it, the features made if they are not in the file `features`."""
    heard = corpus_features(model.audio_encoder, corpus, features, versions, real.seed)
    if heard.shape[1] != len(corpus.curves):
        raise UserError(
            f"{features} holds {heard.shape[1]} frames, the corpus {len(corpus.curves)}: it is another corpus's.",
            "features",
        )
    return NanoBatches(real, ClipMaker(corpus, real.seed), heard)


class _Loop:
    """The steps of a block, one after the other."""

    def __init__(self, recipe: NDPORecipe, sft: SFTRecipe, start: NanoModel, run: Path) -> None:
        self.recipe, self.sft, self.folder = recipe, sft, run
        self.weights = cell_weights(sft)
        self.beta = beta_of_budget(recipe.forget_budget)
        self.reference = NanoVelocity(start).requires_grad_(False)
        model = copy.deepcopy(start)
        velocity = NanoVelocity(model).requires_grad_(True)
        optimizer = torch.optim.AdamW(velocity.parameters(), weight_decay=0.0, betas=(0.9, 0.98))
        ema = EMA(model, decay=stage_decay(recipe.old_share, recipe.steps), seen=SEEN)
        self.trained = _Trained(model, velocity, optimizer, ema)

    def run(self, pool: NegativePool, real: NanoBatches, held_out: list[FlowBatch], stop_after: int | None) -> Block:
        """All of them, from the last one saved."""
        recipe = self.recipe
        baseline = self._held_out_loss(self.reference, held_out)
        first = self._resume()
        last = recipe.steps if stop_after is None else min(stop_after, recipe.steps)
        started = time.monotonic()
        with (self.folder / "loss.jsonl").open("a") as log:
            for step in tqdm(range(first, last), initial=first, total=last, desc=f"{recipe.loss} block", disable=None):
                negative = pool.draw(self.trained.model, step, recipe.negatives, self.sft.tau_shift)
                row: dict[str, Any] = {"step": step} | self._step(step, real.draw(self.trained.model, step), negative)
                stopped_by = self._strays(row)
                if stopped_by is None and ((step + 1) % recipe.check_every == 0 or step + 1 == last):
                    row["held_out"] = self._held_out_loss(self.trained.velocity, held_out)
                    row["held_out_at_start"] = baseline
                    if not row["held_out"] <= baseline * (1 + recipe.held_out_slack):
                        stopped_by = (
                            f"the held-out SFT loss is {row['held_out']:.4f}, more than {recipe.held_out_slack:.0%} "
                            f"above the {baseline:.4f} of the block's start"
                        )
                row["seconds"] = round(time.monotonic() - started, 1)
                rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
                log.write(json.dumps(rounded) + "\n")
                if stopped_by is not None:
                    return self._end(self._saved_step(), stopped_by)
                if "held_out" in row:
                    log.flush()
                    self._save(step + 1)
        return self._end(last, None) if last == recipe.steps else Block(self.folder / "model", last)

    def _step(self, step: int, real: FlowBatch, negative: FlowBatch) -> dict[str, float]:
        """One update; what happened in it, for the log."""
        recipe, trained = self.recipe, self.trained
        rate = recipe.learning_rate_share * self.sft.learning_rate * min(1.0, (step + 1) / recipe.warmup_steps)
        for group in trained.optimizer.param_groups:
            group["lr"] = rate
        errors, sft = self.errors(real, negative)
        loss = LOSSES[recipe.loss](errors, self.beta).mean()
        trained.optimizer.zero_grad()
        (recipe.sft_weight * sft + recipe.ndpo_weight * loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(trained.velocity.parameters(), self.sft.gradient_clip)
        distance = float((errors.negative.detach() - errors.negative_reference).mean() / errors.scale)
        if math.isfinite(norm.item()) and math.isfinite(distance):
            trained.optimizer.step()
            trained.ema.update(trained.model)
        trained.drift = _DRIFT_MEMORY * trained.drift + (1 - _DRIFT_MEMORY) * distance
        return {
            "sft": sft.item(),
            "ndpo": loss.item(),
            "distance": distance,
            "drift": trained.drift,
            "gradient": norm.item(),
        }

    def errors(self, real: FlowBatch, negative: FlowBatch) -> tuple[Errors, Tensor]:
        """Errors of model and reference on both batches, at the same noise, and the SFT loss of the real one."""
        mask = _weighed(negative, self.weights)
        with torch.no_grad():
            frozen = predict(self.reference, negative)
            negative_reference = masked_error(frozen, negative.target, mask)
            needed = self.recipe.loss in USES_POSITIVE_REFERENCE
            positive_reference = flow_errors(predict(self.reference, real), real, self.weights) if needed else None
        positive = flow_errors(predict(self.trained.velocity, real), real, self.weights)
        predicted = predict(self.trained.velocity, negative)
        policy = masked_error(predicted, negative.target, mask)
        mirrored = policy
        if self.recipe.loss in USES_MIRROR:
            mirrored = masked_error(2 * frozen - predicted, negative.target, mask)
        # A comparison with real clips takes as many of them as there are negatives.
        pairs = torch.arange(len(policy)) % len(positive)
        errors = Errors(
            negative=policy,
            negative_reference=negative_reference,
            positive=positive if positive_reference is None else positive[pairs],
            positive_reference=positive.detach() if positive_reference is None else positive_reference[pairs],
            mirrored=mirrored,
            scale=negative_reference.mean(),
        )
        return errors, positive.mean()

    @torch.no_grad()
    def _held_out_loss(self, velocity: NanoVelocity, held_out: list[FlowBatch]) -> float:
        losses = [flow_errors(predict(velocity, batch), batch, self.weights).mean() for batch in held_out]
        return float(torch.stack(losses).mean())

    def _strays(self, row: dict[str, Any]) -> str | None:
        """Why the block must not go on behind this step, or None."""
        if not all(math.isfinite(row[name]) for name in ("sft", "ndpo", "distance", "gradient")):
            return "a loss or its gradient is no longer a number"
        limit = 2 * self.recipe.forget_budget
        if row["drift"] > limit:
            return f"the mean D/s is {row['drift']:.3f}, above {limit:g}, twice the budget"
        return None

    def _resume(self) -> int:
        """Back to what was last saved; the step to go on with."""
        state = load_state(self.folder / "checkpoint.pt")
        if state is None:
            self._save(0)
            return 0
        trained = self.trained
        trained.model.load_state_dict(state["model"])
        trained.optimizer.load_state_dict(state["optimizer"])
        trained.ema.load_state_dict(state["ema"])
        trained.drift = float(state["drift"])
        trim_log(self.folder / "loss.jsonl", int(state["step"]))
        return int(state["step"])

    def _saved_step(self) -> int:
        state = load_state(self.folder / "checkpoint.pt")
        return 0 if state is None else int(state["step"])

    def _save(self, step: int) -> None:
        """The averaged model first: a block that is killed between the two makes both again."""
        trained = self.trained
        averaged = NanoModel(trained.model.description | {"ndpo": self.recipe.as_dict() | {"steps_done": step}})
        averaged.load_state_dict(trained.model.state_dict())
        trained.ema.copy_to(averaged)
        save_folder(self.folder / "model", averaged.save)
        state = {
            "step": step,
            "model": trained.model.state_dict(),
            "optimizer": trained.optimizer.state_dict(),
            "ema": trained.ema.state_dict(),
            "drift": trained.drift,
        }
        save_state(self.folder / "checkpoint.pt", state)

    def _end(self, step: int, stopped_by: str | None) -> Block:
        save_text(self.folder / "block.json", json.dumps({"step": step, "stopped_by": stopped_by}) + "\n")
        return Block(self.folder / "model", step, stopped_by)


def _weighed(batch: FlowBatch, weights: Tensor) -> Tensor:
    """The mask of a batch of negatives, each cell weighed as in SFT, [B, 1, T, h, w]."""
    assert batch.mask is not None
    return batch.mask * weights
