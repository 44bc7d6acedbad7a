"""What an objective asks of the model that it trains: the one place where nano and the released models differ."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from engine.contract.records import NegativeRecord
from trainer.loop.flow import FlowBatch
from trainer.loop.processes import Processes
from trainer.loop.recipes import SFTRecipe
from trainer.loop.training import Trainee
from trainer.loop.validation import MakeClips

Draw = Callable[[int], FlowBatch]
"""This process's part of the batch of a step, on its device."""


class Pool(Protocol):
    """The negatives of a block; draws are keyed by (seed, step, index)."""

    def sha256(self) -> str:
        """Of everything in the pool."""

    def draw(self, step: int, size: int, tau_shift: float) -> FlowBatch:
        """`size` negatives with their noise, of every process together."""


class Subject(Protocol):
    """A model to be trained, or what one is begun from, with the clips that it learns from."""

    @property
    def start_sha256(self) -> str | None:
        """Of the weights that it begins with; None for nothing."""

    def ready(self, recipe: SFTRecipe, parts: int, *, measured: bool) -> SFTRecipe:
        """`recipe` as it can be trained, by `parts` processes, on the clips at hand; nothing is written.

        `measured` asks for clips that are never trained on, too. Raises UserError for what is not there.
        """

    def learns_from(self) -> dict[str, Any]:
        """What tells these clips from others, as JSON: a run goes on with the same alone."""

    def built(self, recipe: SFTRecipe, lora_rank: int) -> Trainee:
        """What `recipe` trains: all weights, or LoRA where the rank is not 0."""

    def copied(self, recipe: SFTRecipe, lora_rank: int) -> Trainee:
        """The model that is begun with itself, to be trained on as `built`."""

    def reference(self) -> nn.Module:
        """The forward of the model that is begun with."""

    def batches(self, recipe: SFTRecipe, trainee: Trainee, run: Path, processes: Processes) -> Draw:
        """Real clips for `trainee`; `run` may keep what was computed of them."""

    def held_out(self, recipe: SFTRecipe, trainee: Trainee, run: Path, processes: Processes) -> list[FlowBatch]:
        """This process's parts of a few batches of clips that are never trained on, of the last stage's tasks."""

    def pool(
        self,
        device: torch.device,
        records: Sequence[NegativeRecord],
        labels: Path,
        seed: int,
        *,
        any_checkpoint: bool = False,
        tell: Callable[[str], None] = print,
    ) -> Pool:
        """The clips that `records` of the file `labels` describe, conditioned anew on `device`.

        The model that is begun with must have made them, unless `any_checkpoint`. `tell` hears of what is left out.
        Raises UserError where a file is gone or is not what it was, or no clip is left.
        """

    def clips(self, trainee: Trainee, count: int, device: torch.device) -> MakeClips:
        """What shows how far a training is: `count` clips."""
