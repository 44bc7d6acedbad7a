"""What a training is watched by: every so many steps the loss on held-out batches, always the same, and a few clips.

    RUN/validation.jsonl       a row each time, told to the tracker, too, where there is one
    RUN/validation/000500/     the clips made behind 500 steps, by the averaged model

The held-out batches have their own noise at their own timesteps, and clips their own seeds: nothing is drawn from the
training's random streams, so its losses are the same with and without. Knows nothing about models.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.loop.checkpoint import save_folder, trim_log
from trainer.loop.flow import FlowBatch, flow_errors, predict
from trainer.loop.processes import Processes
from trainer.loop.training import Training

LOG, CLIPS = "validation.jsonl", "validation"

MakeClips = Callable[[Mapping[str, Tensor], Path], list[dict[str, Any]]]
"""Writes clips by the weights of a state into a folder; what is said of each, its measures as floats by one name."""


@dataclass(frozen=True)
class Validating:
    """What is asked for: a validation `every` so many steps and at the end, with so many `clips`, or none."""

    every: int
    clips: int = 2


@dataclass(frozen=True)
class Validation:
    """`held_out` are this process's parts of the batches; without `make_clips` there is the loss alone."""

    every: int
    held_out: Sequence[FlowBatch]
    make_clips: MakeClips | None = None

    def resume(self, training: Training, steps_done: int) -> None:
        """Forget what was said of steps whose weights were never saved."""
        if training.processes.is_first:
            trim_log(training.run / LOG, steps_done)

    def is_due(self, step: int, is_last: bool) -> bool:
        """Whether `step`, counting from 0, is followed by a validation."""
        return is_last or (step + 1) % self.every == 0

    def run(self, training: Training, step: int) -> None:
        """Measure the model behind `step`; all processes must call it."""
        row: dict[str, Any] = {"step": step}
        row["held_out"] = held_out_loss(training.velocity, self.held_out, training.weights, training.processes)
        state = training.averaged()
        if not training.processes.is_first:
            return
        if self.make_clips is not None:
            make, clips = self.make_clips, list[dict[str, Any]]()
            save_folder(training.run / CLIPS / f"{step + 1:06d}", lambda folder: clips.extend(make(state, folder)))
            measured = [name for name, value in clips[0].items() if isinstance(value, float)]
            row |= {name: sum(clip[name] for clip in clips) / len(clips) for name in measured}
            row["clips"] = clips
        with (training.run / LOG).open("a") as log:
            log.write(json.dumps(row) + "\n")
        told = {f"validation/{name}": value for name, value in row.items() if isinstance(value, float)}
        training.processes.report(told, step)


@torch.no_grad()
def held_out_loss(velocity: nn.Module, held_out: Sequence[FlowBatch], weights: Tensor, processes: Processes) -> float:
    """The SFT loss of `velocity` on batches that are never trained on, over all processes."""
    losses = [flow_errors(predict(velocity, batch), batch, weights).mean() for batch in held_out]
    return float(processes.mean(torch.stack(losses).mean()))
