"""One block of Negative-DPO: push a model off labelled negatives while it goes on learning from real clips.

The model is any `trainer.subjects.subject.Subject`. Every step takes a real batch, by flow matching as in SFT, and a
batch of negatives, by `ndpo_loss`; model and frozen reference see the same noise at the same timestep. The reference is
the model that the block begins with. Guards are checked every few steps, and only what passed them is saved: a block
that they stop is thereby rolled back. Draws are keyed by (seed, step, index), so that a killed block goes on to the
same weights.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from engine.contract.errors import UserError
from trainer.data.files import writable_folder
from trainer.loop.checkpoint import claim, save_text
from trainer.loop.ema import stage_decay
from trainer.loop.flow import FlowBatch, flow_errors, predict
from trainer.loop.lora import WithoutLora
from trainer.loop.processes import Processes
from trainer.loop.recipes import SEEN, NDPORecipe, SFTRecipe
from trainer.loop.training import Training
from trainer.loop.validation import held_out_loss
from trainer.objectives.ndpo_loss import (
    LOSSES,
    USES_POSITIVE_REFERENCE,
    Errors,
    beta_of_budget,
    masked_error,
)
from trainer.subjects.subject import Draw, Pool, Subject

END = "block.json"
"""Says how a block ended."""
REFERENCES = ("copy", "lora-off")
_DRIFT_MEMORY = 0.8
"""Share of the running mean of D/s that a step leaves as it was."""


@dataclass(frozen=True)
class Block:
    """What a block came to: the model's folder, the step that it is of, and what stopped the block before its end."""

    model: Path
    step: int
    stopped_by: str | None = None


def train(
    recipe: NDPORecipe,
    sft: SFTRecipe,
    subject: Subject,
    negatives: Callable[[torch.device], Pool],
    run: Path,
    *,
    stop_after: int | None = None,
    report: str | None = None,
) -> Block:
    """Run the block, or go on with it; `run` gets checkpoint.pt, loss.jsonl, model/ and, at the end, block.json.

    The model that `subject` begins with is the reference, too; `sft` is the recipe of the real batches: those of its
    last stage. `negatives` makes the pool, by encoders on that device where it needs any. `stop_after` ends the block
    early, at that step; `report` names a tracker (`trainer.loop.processes`). Raises UserError for what cannot be
    trained on, before anything is written.
    """
    check(recipe)
    processes = Processes(report, run)
    if recipe.negatives % processes.count:
        raise UserError(
            f"{recipe.negatives} negatives cannot be shared evenly by {processes.count} processes.", "negatives"
        )
    real = replace(subject.ready(sft.endless(), processes.count, measured=True), seed=recipe.seed)
    pool = negatives(processes.device)
    writable_folder(run)
    made_of = {
        "recipe": recipe.as_dict(),
        "sft": sft.as_dict(),
        "start_sha256": subject.start_sha256,
        "negatives_sha256": pool.sha256(),
        **subject.learns_from(),
    }
    with processes.first_alone():
        claim(run, made_of)
        if ended := ended_block(run):
            return ended
        trainee = subject.copied(sft, recipe.lora_rank)
        drawn = Drawn(
            subject.batches(real, trainee, run, processes),
            lambda step: processes.part(pool.draw(step, recipe.negatives, sft.tau_shift)),
            subject.held_out(real, trainee, run, processes),
        )
    off = recipe.reference == "lora-off"
    frozen = WithoutLora(trainee.velocity, trainee.adapted) if off else subject.reference()
    training = Training(trainee, run, processes, weight_decay=0.0, seen=SEEN)
    training.processes.freeze(frozen)
    baseline = held_out_loss(frozen, drawn.held_out, training.weights, training.processes)
    loop = Loop(recipe, sft, training, frozen)
    return loop.run(drawn.real, drawn.negatives, (drawn.held_out, baseline), stop_after)


@dataclass(frozen=True)
class Drawn:
    """What a block learns from: this process's parts of the real batches, the negatives and the held-out batches."""

    real: Draw
    negatives: Draw
    held_out: list[FlowBatch]


def ended_block(run: Path) -> Block | None:
    """The block in `run`, where it came to its end."""
    if not (run / END).exists():
        return None
    done = json.loads((run / END).read_text())
    return Block(run / "model", done["step"], done["stopped_by"])


def check(recipe: NDPORecipe) -> None:
    """Raises UserError for what cannot be done."""
    if recipe.loss not in LOSSES:
        raise UserError(f"Unknown loss {recipe.loss!r}: choose one of {', '.join(LOSSES)}.", "loss")
    if recipe.reference not in REFERENCES:
        raise UserError(f"Unknown reference {recipe.reference!r}: choose one of {', '.join(REFERENCES)}.", "reference")
    if recipe.reference == "lora-off" and not recipe.lora_rank:
        raise UserError("The reference lora-off needs LoRA: give its rank, 16 is usual.", "lora")


def _negative_errors(predicted: Tensor, batch: FlowBatch, weights: Tensor) -> Tensor:
    assert batch.mask is not None
    return masked_error(predicted, batch.target, batch.mask * weights)


class Loop:
    """The steps of a block, one after the other."""

    def __init__(self, recipe: NDPORecipe, sft: SFTRecipe, training: Training, reference: nn.Module) -> None:
        """`reference` is the frozen model."""
        self.recipe, self.sft, self.training, self.reference = recipe, sft, training, reference
        self.beta = beta_of_budget(recipe.forget_budget)
        self.drift = 0.0
        training.ema.decay = stage_decay(recipe.old_share, recipe.steps)

    def run(self, real: Draw, negatives: Draw, unheard: tuple[list[FlowBatch], float], stop_after: int | None) -> Block:
        """All of them, from the last one saved; `unheard` are the held-out batches and the reference's loss on them."""
        recipe, training, (held_out, baseline) = self.recipe, self.training, unheard
        first = self._resume()
        last = recipe.steps if stop_after is None else min(stop_after, recipe.steps)
        hidden = None if training.processes.is_first else True
        for step in tqdm(range(first, last), initial=first, total=last, desc=f"{recipe.loss} block", disable=hidden):
            row: dict[str, Any] = {"step": step} | self.step(step, real(step), negatives(step))
            stopped_by = self._strays(row)
            checked = (step + 1) % recipe.check_every == 0 or step + 1 == last
            if stopped_by is None and checked:
                row |= {"held_out": self._held_out_loss(held_out), "held_out_at_start": baseline}
                if not row["held_out"] <= baseline * (1 + recipe.held_out_slack):
                    stopped_by = (
                        f"the held-out SFT loss is {row['held_out']:.4f}, more than {recipe.held_out_slack:.0%} above "
                        f"the {baseline:.4f} of the block's start"
                    )
            training.write_row(row)
            if stopped_by is not None:
                return self._end(training.saved_step() or 0, stopped_by)
            if checked:
                self._save(step + 1)
        return self._end(last, None) if last == recipe.steps else Block(training.run / "model", last)

    def step(self, step: int, real: FlowBatch, negative: FlowBatch) -> dict[str, float]:
        """One update; what happened in it, for the log."""
        recipe, mean = self.recipe, self.training.processes.mean
        rate = recipe.learning_rate_share * self.sft.learning_rate * min(1.0, (step + 1) / recipe.warmup_steps)
        errors, sft = self.errors(real, negative)
        each = LOSSES[recipe.loss](errors, self.beta)
        loss = (each if negative.weight is None else negative.weight * each).mean()
        total = recipe.sft_weight * sft + recipe.ndpo_weight * loss
        norm = self.training.step(total, rate, self.sft.gradient_clip)
        distance = float(mean((errors.negative - errors.negative_reference).mean()) / errors.scale)
        self.drift = _DRIFT_MEMORY * self.drift + (1 - _DRIFT_MEMORY) * distance
        return {
            "loss": float(mean(total)),
            "sft": float(mean(sft)),
            "ndpo": float(mean(loss)),
            "distance": distance,
            "drift": self.drift,
            "gradient": norm,
        }

    def errors(self, real: FlowBatch, negative: FlowBatch) -> tuple[Errors, Tensor]:
        """Errors of model and reference on both batches, at the same noise, and the SFT loss of the real one."""
        training, weights, reference = self.training, self.training.weights, self.reference
        positive_reference = None
        with torch.no_grad():
            negative_reference = _negative_errors(predict(reference, negative), negative, weights)
            if self.recipe.loss in USES_POSITIVE_REFERENCE:
                positive_reference = flow_errors(predict(reference, real), real, weights)
        positive = flow_errors(predict(training.velocity, real), real, weights)
        policy = _negative_errors(predict(training.velocity, negative), negative, weights)
        # A comparison with real clips takes as many of them as there are negatives.
        pairs = torch.arange(len(policy)) % len(positive)
        errors = Errors(
            negative=policy,
            negative_reference=negative_reference,
            positive=positive if positive_reference is None else positive[pairs],
            positive_reference=positive.detach() if positive_reference is None else positive_reference[pairs],
            scale=training.processes.mean(negative_reference.mean()),
        )
        return errors, positive.mean()

    def _held_out_loss(self, held_out: list[FlowBatch]) -> float:
        training = self.training
        return held_out_loss(training.velocity, held_out, training.weights, training.processes)

    def _strays(self, row: dict[str, Any]) -> str | None:
        """Why the block must not go on behind this step, or None."""
        if not all(math.isfinite(row[name]) for name in ("loss", "distance", "gradient")):
            return "a loss or its gradient is no longer a number"
        limit = 2 * self.recipe.forget_budget
        if row["drift"] > limit:
            return f"the mean D/s is {row['drift']:.3f}, above {limit:g}, twice the budget"
        return None

    def _resume(self) -> int:
        """Back to what was last saved; the step to go on with."""
        resumed = self.training.resume()
        if resumed is None:
            self._save(0)
            return 0
        step, beside = resumed
        self.drift = float(beside["drift"])
        return step

    def _save(self, step: int) -> None:
        self.training.save(step, {"ndpo": self.recipe.as_dict() | {"steps_done": step}}, drift=self.drift)

    def _end(self, step: int, stopped_by: str | None) -> Block:
        run = self.training.run
        if self.training.processes.is_first:
            save_text(run / END, json.dumps({"step": step, "stopped_by": stopped_by}) + "\n")
        self.training.processes.wait()
        return Block(run / "model", step, stopped_by)
