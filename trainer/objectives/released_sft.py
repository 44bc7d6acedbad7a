"""`sft` for a released model: from its folder and prepared shards to a folder that the engine loads, or a LoRA file.

All weights, or LoRA beside frozen ones; on one device or several (`trainer.loop.processes`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.variants import TRANSFORMER_WEIGHTS, Variant
from engine.media.inputs import file_sha256
from engine.wan.checkpoints import ReleasedTransformer
from trainer.data.files import writable_folder
from trainer.data.shards import Shards
from trainer.loop.checkpoint import claim
from trainer.loop.lora import add_lora, lora_only, merged
from trainer.loop.processes import Processes
from trainer.loop.recipes import SEEN, SFTRecipe
from trainer.loop.training import Trainee, Training
from trainer.objectives.sft import fit
from trainer.subjects.released import ReleasedBatches, ReleasedVelocity, possible, read_transformer, write_released
from trainer.subjects.released_validation import ReleasedValidating, released_validation

LORA_FILE = "lora.safetensors"


@dataclass(frozen=True)
class ReleasedTraining:
    """What is trained on what: `batch` clips a step over all processes, LoRA of rank `lora` or, with 0, all weights."""

    variant: Variant
    data: Path
    run: Path
    batch: int = 8
    lora: int = 0
    checkpointing: bool = False
    report: str | None = None


def train_released(
    asked: ReleasedTraining,
    recipe: SFTRecipe,
    *,
    stop_after: int | None = None,
    validate: ReleasedValidating | None = None,
) -> Path:
    """Train, or go on; returns the folder of the averaged model. Raises UserError for what cannot be trained on."""
    folder, name = asked.variant.folder, asked.variant.name
    assert name != "nano"
    if not asked.variant.is_installed:
        raise UserError(f"The model {name} is not installed in {folder}: see python -m engine models.", "model")
    shards = Shards(asked.data)
    recipe = possible(recipe, shards.groups)
    writable_folder(asked.run)
    processes = Processes(asked.report, asked.run)
    made_of = {
        "recipe": recipe.as_dict(),
        "start_sha256": file_sha256(folder / TRANSFORMER_WEIGHTS),
        "data": {"clips": len(shards), "about": shards.about},
        "batch": asked.batch,
        "lora": asked.lora,
    }
    batches = ReleasedBatches(recipe, shards, name, asked.batch)
    if asked.batch % processes.count:
        raise UserError(
            f"A batch of {asked.batch} clips cannot be shared evenly by {processes.count} processes.", "batch"
        )
    validation = None
    if validate is not None:
        validation = released_validation(validate, asked.variant, recipe, shards, asked.batch, processes)
    # Behind all that may be refused, which would otherwise have to be put right in another folder.
    with processes.first_alone():
        claim(asked.run, made_of)
    trainee = released_trainee(folder, name, lora=asked.lora, checkpointing=asked.checkpointing)
    training = Training(trainee, asked.run, processes, weight_decay=recipe.weight_decay, seen=SEEN)
    count, number = processes.count, processes.number
    fit(
        training,
        recipe,
        lambda step: batches.draw(step, number, count).to(processes.device),
        stop_after=stop_after,
        validation=validation,
    )
    return asked.run / "model"


def released_trainee(original: Path, name: ReleasedTransformer, *, lora: int, checkpointing: bool) -> Trainee:
    """The transformer in the folder `original` to be trained: all weights, or LoRA of rank `lora`."""
    transformer = read_transformer(original, name)
    transformer.requires_grad_(True)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    if lora:
        add_lora(transformer, lora)

    def write(state: dict[str, Tensor], folder: Path, note: dict[str, Any]) -> None:
        write_released(merged(state), original, folder)
        if lora:
            save_file(lora_only(state), folder / LORA_FILE)

    return Trainee(transformer, ReleasedVelocity(transformer), torch.ones(()), write)
