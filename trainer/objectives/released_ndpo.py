"""One block of Negative-DPO for a released model, from its folder, prepared shards and labels to a folder that loads.

The loop, its guards and its reference are those of `ndpo`; real batches come from shards, the guard's held-out
batches from shards of their own, negatives from labels. All weights with a frozen copy, or LoRA with the reference by
LoRA switched off, which takes no memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from engine.contract.errors import UserError
from engine.contract.records import NegativeRecord
from engine.contract.variants import TRANSFORMER_WEIGHTS, Variant
from engine.media.inputs import file_sha256
from engine.wan.animator import PixelAnimator
from engine.wan.memory import free_unused
from trainer.data.files import writable_folder
from trainer.data.shards import Shards
from trainer.loop.checkpoint import claim
from trainer.loop.lora import WithoutLora
from trainer.loop.processes import Processes
from trainer.loop.recipes import SEEN, NDPORecipe, SFTRecipe, Stage
from trainer.loop.training import Training
from trainer.objectives.ndpo import Block, Drawn, check, ended_block, run_block
from trainer.objectives.released_sft import released_trainee
from trainer.subjects.labels import check_files, check_model, with_latents
from trainer.subjects.released import ReleasedBatches, ReleasedVelocity, possible, read_transformer
from trainer.subjects.released_negatives import ReleasedPool, released_negatives
from trainer.subjects.released_validation import released_held_out


@dataclass(frozen=True)
class ReleasedBlock:
    """What a block learns from: `records` of `labels`, real clips in `data`, others in `held_out` for its guard.

    `batch` counts the real clips of a step over all processes; negatives are counted by the recipe.
    """

    variant: Variant
    records: list[NegativeRecord]
    labels: Path
    data: Path
    held_out: Path
    run: Path
    batch: int = 8
    checkpointing: bool = False
    any_checkpoint: bool = False
    report: str | None = None


def train_released_block(
    asked: ReleasedBlock,
    recipe: NDPORecipe,
    sft: SFTRecipe,
    *,
    stop_after: int | None = None,
    tell: Callable[[str], None] = print,
) -> Block:
    """Run the block, or go on with it; `tell` hears of labels that mark nothing. Raises UserError for what cannot be
    trained on, before anything is written."""
    check(recipe)
    folder, name = asked.variant.folder, asked.variant.name
    assert name != "nano"
    if not asked.variant.is_installed:
        raise UserError(f"The model {name} is not installed in {folder}: see python -m engine models.", "model")
    start_sha256 = file_sha256(folder / TRANSFORMER_WEIGHTS)
    check_model(asked.records, name, start_sha256, folder, any_checkpoint=asked.any_checkpoint)
    records, notes = with_latents(asked.records, asked.labels)
    asked = replace(asked, records=records)
    check_files(records, asked.labels)
    for note in notes:
        tell(note)
    shards = Shards(asked.data)
    real = possible(replace(sft, stages=(Stage(2**31, sft.stages[-1].tasks),), seed=recipe.seed), shards.groups)
    batches = ReleasedBatches(real, shards, name, asked.batch)
    processes = Processes(asked.report, asked.run)
    if (asked.batch % processes.count) or (recipe.negatives % processes.count):
        raise UserError(
            f"{asked.batch} clips and {recipe.negatives} negatives cannot be shared evenly by {processes.count} "
            "processes.",
            "batch",
        )
    _, held_out = released_held_out(asked.held_out, asked.variant, real, shards, asked.batch, processes)
    pool = _pool(asked, recipe, processes.device, tell)
    writable_folder(asked.run)
    made_of = {
        "recipe": recipe.as_dict(),
        "sft": sft.as_dict(),
        "start_sha256": start_sha256,
        "negatives_sha256": pool.sha256(),
        "data": {"clips": len(shards), "about": shards.about},
        "batch": asked.batch,
    }
    with processes.first_alone():
        claim(asked.run, made_of)
    if ended := ended_block(asked.run):
        return ended
    trainee = released_trainee(folder, name, lora=recipe.lora_rank, checkpointing=asked.checkpointing)
    frozen: nn.Module = (
        WithoutLora(trainee.velocity, trainee.model)
        if recipe.reference == "lora-off"
        else ReleasedVelocity(read_transformer(folder, name))
    )
    training = Training(trainee, asked.run, processes, weight_decay=0.0, seen=SEEN)
    drawn = Drawn(
        lambda step: batches.draw(step, processes.number, processes.count).to(processes.device),
        lambda step: processes.part(pool.draw(step, recipe.negatives, sft.tau_shift)),
        held_out,
    )
    return run_block(recipe, sft, training, frozen, drawn, stop_after=stop_after)


def _pool(asked: ReleasedBlock, recipe: NDPORecipe, device: torch.device, tell: Callable[[str], None]) -> ReleasedPool:
    """The labelled clips, conditioned anew; the encoders are gone afterwards."""
    folder, name = asked.variant.folder, asked.variant.name
    assert name != "nano"
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    animator = PixelAnimator(folder, name, dtype, device)
    # Clips are conditioned, not made: the biggest encoder takes the transformer's place in memory.
    animator.transformer.to("meta")
    negatives, notes = released_negatives(asked.records, animator, folder, asked.labels)
    for note in notes:
        tell(note)
    del animator
    free_unused()
    return ReleasedPool(negatives, recipe.seed)
