"""A released model as it is trained: from its folder, on prepared shards, all weights or LoRA beside frozen ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.contract.errors import UserError
from engine.contract.records import NegativeRecord
from engine.contract.variants import TRANSFORMER_WEIGHTS, Variant
from engine.media.inputs import file_sha256
from engine.wan.animator import PixelAnimator
from engine.wan.checkpoints import ReleasedTransformer
from engine.wan.memory import free_unused
from trainer.data.shards import Shards
from trainer.loop.flow import FlowBatch
from trainer.loop.lora import add_lora, lora_only, merged
from trainer.loop.processes import Processes
from trainer.loop.recipes import SFTRecipe
from trainer.loop.training import Trainee
from trainer.subjects.labels import check_files, check_model, with_latents
from trainer.subjects.released import ReleasedBatches, ReleasedVelocity, possible, read_transformer, write_released
from trainer.subjects.released_negatives import ReleasedPool, released_negatives
from trainer.subjects.released_validation import ReleasedClips
from trainer.subjects.subject import Draw

LORA_FILE = "lora.safetensors"
HELD_OUT_BATCHES = 4
_HELD_OUT_STEP = 2**31 - 64
"""The held-out batches are those of steps that no run reaches."""


@dataclass(frozen=True)
class ReleasedSubject:
    """A `trainer.subjects.subject.Subject`: a model in its folder, and what `python -m trainer prepare` made.

    `data` is trained on, `held_out_data` never; `batch` counts the clips of a step over all processes.
    """

    variant: Variant
    data: Path
    held_out_data: Path | None = None
    batch: int = 8
    checkpointing: bool = False

    def __post_init__(self) -> None:
        """Raises UserError where the model is not there."""
        if not self.variant.is_installed:
            raise UserError(
                f"The model {self.variant.name} is not installed in {self.variant.folder}: see python -m engine "
                "models.",
                "model",
            )

    @property
    def kind(self) -> ReleasedTransformer:
        """Which of the released transformers it is."""
        assert self.variant.name != "nano"
        return self.variant.name

    @property
    def start_sha256(self) -> str:
        """Of the transformer's file."""
        return file_sha256(self.variant.folder / TRANSFORMER_WEIGHTS)

    def ready(self, recipe: SFTRecipe, parts: int, *, measured: bool) -> SFTRecipe:
        """`recipe` with the tasks that the shards can show. Raises UserError where there is no clip, the processes
        cannot share a batch, or a clip is both trained on and held out."""
        shards = Shards(self.data)
        recipe = possible(recipe, shards.groups)
        ReleasedBatches(recipe, shards, self.kind, self.batch)
        if self.batch % parts:
            raise UserError(f"A batch of {self.batch} clips cannot be shared evenly by {parts} processes.", "batch")
        if measured:
            self._check_apart(shards)
        return recipe

    def learns_from(self) -> dict[str, Any]:
        """The shards and how many clips of them a step takes."""
        shards = Shards(self.data)
        return {"data": {"clips": len(shards), "about": shards.about}, "batch": self.batch}

    def built(self, recipe: SFTRecipe, lora_rank: int) -> Trainee:
        """The transformer in the folder, to be trained."""
        original = self.variant.folder
        transformer = read_transformer(original, self.kind)
        transformer.requires_grad_(True)
        if self.checkpointing:
            transformer.enable_gradient_checkpointing()
        if lora_rank:
            add_lora(transformer, lora_rank)

        def write(state: dict[str, Tensor], folder: Path, note: dict[str, Any]) -> None:
            write_released(merged(state), original, folder)
            if lora_rank:
                save_file(lora_only(state), folder / LORA_FILE)

        return Trainee(transformer, transformer, ReleasedVelocity(transformer), torch.ones(()), write)

    def copied(self, recipe: SFTRecipe, lora_rank: int) -> Trainee:
        """The same: a released model has one shape."""
        return self.built(recipe, lora_rank)

    def reference(self) -> nn.Module:
        """The forward of the transformer in the folder."""
        return ReleasedVelocity(read_transformer(self.variant.folder, self.kind))

    def batches(self, recipe: SFTRecipe, trainee: Trainee, run: Path, processes: Processes) -> Draw:
        """Clips from the shards, of which this process reads its own alone."""
        return self._drawing(recipe, Shards(self.data), processes)

    def held_out(self, recipe: SFTRecipe, trainee: Trainee, run: Path, processes: Processes) -> list[FlowBatch]:
        """Clips from the held-out shards."""
        shards = self._held_out_shards()
        draw = self._drawing(possible(recipe.endless(), shards.groups), shards, processes)
        return [draw(_HELD_OUT_STEP + number) for number in range(HELD_OUT_BATCHES)]

    def clips(self, trainee: Trainee, count: int, device: torch.device) -> ReleasedClips:
        """Held-out videos made anew."""
        return ReleasedClips(self.variant, self._held_out_shards(), count, device)

    def pool(
        self,
        device: torch.device,
        records: Sequence[NegativeRecord],
        labels: Path,
        seed: int,
        *,
        any_checkpoint: bool = False,
        tell: Callable[[str], None] = print,
    ) -> ReleasedPool:
        """The labelled clips as negatives; the encoders that conditioned them are gone afterwards."""
        folder = self.variant.folder
        check_model(records, self.kind, self.start_sha256, folder, any_checkpoint=any_checkpoint)
        records, notes = with_latents(records, labels)
        check_files(records, labels)
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        animator = PixelAnimator(folder, self.kind, dtype, device)
        # Clips are conditioned, not made: the biggest encoder takes the transformer's place in memory.
        animator.transformer.to("meta")
        negatives, left_out = released_negatives(records, animator, folder, labels)
        for note in (*notes, *left_out):
            tell(note)
        del animator
        free_unused()
        return ReleasedPool(negatives, seed)

    def _drawing(self, recipe: SFTRecipe, shards: Shards, processes: Processes) -> Draw:
        batches = ReleasedBatches(recipe, shards, self.kind, self.batch)
        return lambda step: batches.draw(step, processes.number, processes.count).to(processes.device)

    def _held_out_shards(self) -> Shards:
        if self.held_out_data is None:
            raise UserError(
                f"The model {self.variant.name} is measured on videos that are never trained on: give what prepare "
                "made of some with --validation-data.",
                "validation_data",
            )
        return Shards(self.held_out_data)

    def _check_apart(self, shards: Shards) -> None:
        held_out = self._held_out_shards()
        seen = {row["in_latents"]["sha256"] for row in shards.rows}
        both = [row["id"] for row in held_out.rows if row["in_latents"]["sha256"] in seen]
        if both:
            raise UserError(
                f"{len(both)} of {len(held_out)} clips in {held_out.folder} are trained on, {both[0]} for one: prepare "
                "videos that are not.",
                "validation_data",
            )
