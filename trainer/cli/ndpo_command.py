"""`python -m trainer ndpo`: one block of Negative-DPO on labelled clips, or go on with one that was stopped."""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.unlearning import DEFAULT_PRESET, PRESETS, find_speech
from engine.contract.variants import find_variant
from trainer.cli.arguments import add_released, forget_budget, positive_float, positive_int, released_subject, seed
from trainer.loop.processes import REPORTS
from trainer.loop.recipes import RECIPES, NDPORecipe, SFTRecipe, preset, released_soup
from trainer.objectives.ndpo import REFERENCES, Block, train
from trainer.objectives.ndpo_loss import LOSSES
from trainer.subjects.labels import read_labels
from trainer.subjects.nano_subject import NanoSubject
from trainer.subjects.subject import Subject


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ndpo`."""
    default = NDPORecipe()
    presets = ", ".join(f"{name} ({one.steps} steps, budget {one.forget_budget:g})" for name, one in PRESETS.items())
    parser.add_argument("--model", default="nano", help="that made the clips: nano, preview, flash or a folder")
    parser.add_argument("--labels", type=Path, required=True, help="a JSONL file from the review tab")
    parser.add_argument("--issue", default=None, help="learn from this issue alone; default: from all")
    parser.add_argument("--run", dest="folder", type=Path, required=True, help="resumed if it exists")
    speech = "speech to learn beside the labels; default: data/speech, else the minutes that come with the program"
    parser.add_argument("--corpus", type=Path, default=None, help=speech)
    parser.add_argument("--features", type=Path, default=None, help="the corpus's features, if another run made them")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="nano-soup", help="of the real batches")
    preset_help = (
        f"{presets}; the numbers below are its, unless given; default: {DEFAULT_PRESET}, others than nano: gentle"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default=None, help=preset_help)
    parser.add_argument("--steps", type=positive_int, default=None, help="default: the preset's")
    parser.add_argument("--negatives", type=positive_int, default=None, help="in each step; nano: 16, others: --batch")
    parser.add_argument("--budget", type=forget_budget, default=None, help="how far to forget, 0.05 to 1")
    parser.add_argument("--rate-share", type=positive_float, default=None, help="of the SFT recipe's learning rate")
    parser.add_argument("--sft-weight", type=positive_float, default=None, help="what real clips count beside it")
    parser.add_argument("--loss", choices=sorted(LOSSES), default=default.loss, help=f"default: {default.loss}")
    parser.add_argument("--reference", choices=REFERENCES, default=default.reference, help="the frozen model's errors")
    parser.add_argument("--lora", type=positive_int, default=None, metavar="RANK", help="default: all weights")
    parser.add_argument("--report", choices=REPORTS, default=None, help="a tracker to tell besides loss.jsonl")
    parser.add_argument("--any-checkpoint", action="store_true", help="take clips that another checkpoint made, too")
    parser.add_argument("--seed", type=seed, default=default.seed)
    add_released(parser)


def run(args: argparse.Namespace) -> int:
    """Run the block, and print where the model is."""
    is_nano = find_variant(args.model).is_nano
    recipe = recipe_of(args, is_nano=is_nano)
    records = read_labels(args.labels, args.issue)
    subject, sft = _nano(args) if is_nano else _released(args)
    negatives = partial(
        subject.pool,
        records=records,
        labels=args.labels,
        seed=recipe.seed,
        any_checkpoint=args.any_checkpoint,
        tell=lambda note: print(note, file=sys.stderr),
    )
    return report(train(recipe, sft, subject, negatives, args.folder, report=args.report))


def recipe_of(args: argparse.Namespace, *, is_nano: bool) -> NDPORecipe:
    """The preset with the numbers that were given in place of its own."""
    given = {
        "steps": args.steps,
        "forget_budget": args.budget,
        "learning_rate_share": args.rate_share,
        "sft_weight": args.sft_weight,
    }
    return replace(
        preset(args.preset or (DEFAULT_PRESET if is_nano else "gentle")),
        loss=args.loss,
        negatives=args.negatives or (NDPORecipe().negatives if is_nano else args.batch),
        seed=args.seed,
        reference=args.reference,
        lora_rank=args.lora or 0,
        **{name: value for name, value in given.items() if value is not None},
    )


def _nano(args: argparse.Namespace) -> tuple[Subject, SFTRecipe]:
    folder, corpus = find_variant(args.model).folder, find_speech(args.corpus)
    return NanoSubject.begun_with(folder, corpus, features=args.features), RECIPES[args.recipe]()


def _released(args: argparse.Namespace) -> tuple[Subject, SFTRecipe]:
    if args.data is None or args.validation_data is None:
        raise UserError(
            f"Negative-DPO of {args.model} needs --data and --validation-data, what prepare made of videos to learn "
            "from and of others.",
            "data",
        )
    return released_subject(args, args.model), released_soup()


def report(block: Block) -> int:
    """Print the block's model. Raises UserError, which names the model kept, for one that was stopped."""
    if block.stopped_by is not None:
        raise UserError(
            f"The block was stopped: {block.stopped_by}. The last good model, of step {block.step}, is {block.model}.",
            "run",
        )
    print(block.model)
    return 0
