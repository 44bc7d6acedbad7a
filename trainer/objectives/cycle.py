"""The NDPO-SFT cycle: a block of Negative-DPO on labels, a block of SFT behind it, and again from the new model.

A cycle's labels are of clips that its own start model made; where they are not there yet, the cycle stops, and goes on
when it is started again. One block takes one issue, in turn. Small budgets and fresh references, repeated, do the work.

    RUN/1/labels.jsonl   what people, or rules, say of the clips of the model that the cycle starts with
    RUN/1/ndpo, RUN/1/sft   the blocks' runs; RUN/1/sft/model starts cycle 2
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from trainer.loop.recipes import NDPORecipe, SFTRecipe, Stage
from trainer.objectives import ndpo, sft
from trainer.objectives.ndpo import Block
from trainer.subjects.labels import read_labels
from trainer.subjects.subject import Subject

LABELS = "labels.jsonl"


@dataclass(frozen=True)
class Cycles:
    """What to do: `count` cycles from the model in `start`, the `issues` in turn (none: all at once in every cycle).

    `begun_with` reads the model in a folder, with what it learns from. `block` is the NDPO recipe, `recipe` the SFT
    recipe, of whose last stage each SFT block takes `sft_steps`; both train LoRA where the block does.
    """

    start: Path
    run: Path
    begun_with: Callable[[Path], Subject]
    block: NDPORecipe
    recipe: SFTRecipe
    issues: tuple[str, ...] = ()
    count: int = 2
    sft_steps: int = 300


@dataclass(frozen=True)
class Waiting:
    """The cycle needs labels: of clips of `model`, for `issue`, in the file `labels`."""

    number: int
    model: Path
    issue: str | None
    labels: Path


def run_cycles(cycles: Cycles) -> Waiting | list[Block]:
    """Do what can be done: all blocks of Negative-DPO, or what is waited for. Raises UserError for bad labels."""
    model_folder, blocks = cycles.start, []
    for number in range(1, cycles.count + 1):
        folder = cycles.run / str(number)
        issue = cycles.issues[(number - 1) % len(cycles.issues)] if cycles.issues else None
        if not (folder / LABELS).exists():
            folder.mkdir(parents=True, exist_ok=True)
            return Waiting(number, model_folder, issue, folder / LABELS)
        blocks.append(_ndpo(cycles, model_folder, folder, issue))
        model_folder = _sft(cycles, blocks[-1].model, folder / "sft", number)
    return blocks


def _ndpo(cycles: Cycles, model_folder: Path, folder: Path, issue: str | None) -> Block:
    subject, labels = cycles.begun_with(model_folder), folder / LABELS
    block = replace(cycles.block, seed=cycles.block.seed + int(folder.name))
    negatives = partial(subject.pool, records=read_labels(labels, issue), labels=labels, seed=block.seed)
    return ndpo.train(block, cycles.recipe, subject, negatives, folder / "ndpo")


def _sft(cycles: Cycles, model_folder: Path, run: Path, number: int) -> Path:
    """The SFT block at the rate of NDPO's, or it would take back what the block before it moved."""
    recipe = replace(
        cycles.recipe,
        name=f"cycle-{number}",
        stages=(Stage(cycles.sft_steps, cycles.recipe.stages[-1].tasks),),
        trained_on=True,
        seed=cycles.recipe.seed + 100 * number,
        learning_rate=cycles.recipe.learning_rate * cycles.block.learning_rate_share,
    )
    return sft.train(recipe, cycles.begun_with(model_folder), run, lora_rank=cycles.block.lora_rank)


def finished(blocks: list[Block], run: Path, count: int) -> str:
    """What was done, block by block, and where the model is."""
    lines = [
        f"cycle {number}: " + (f"stopped, {block.stopped_by}; kept step {block.step}" if block.stopped_by else "whole")
        for number, block in enumerate(blocks, start=1)
    ]
    return "\n".join([*lines, str(run / str(count) / "sft" / "model")])
