"""`python -m trainer ndpo`: one block of Negative-DPO on labelled clips, or go on with one that was stopped."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from engine.errors import UserError
from engine.model.nano import NanoModel
from engine.variants import find_variant
from trainer.arguments import positive_int, seed
from trainer.labels import nano_negatives, read_labels
from trainer.ndpo import REFERENCES, Block, train
from trainer.ndpo_loss import LOSSES
from trainer.processes import REPORTS
from trainer.recipes import RECIPES, NDPORecipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ndpo`."""
    default = NDPORecipe()
    parser.add_argument("--model", default="nano", help="the model that made the clips: nano, or a folder")
    parser.add_argument("--labels", type=Path, required=True, help="a JSONL file from the review tab")
    parser.add_argument("--issue", default=None, help="learn from this issue alone; default: from all")
    parser.add_argument("--run", dest="folder", type=Path, required=True, help="resumed if it exists")
    parser.add_argument("--corpus", type=Path, default=Path("data/speech"), help="default: data/speech")
    parser.add_argument("--features", type=Path, default=None, help="the corpus's features, if another run made them")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="nano-soup", help="of the real batches")
    parser.add_argument("--steps", type=positive_int, default=default.steps, help=f"default: {default.steps}")
    parser.add_argument("--negatives", type=positive_int, default=default.negatives, help="in each step")
    budget = f"how far to forget, 0.05 to 1; default: {default.forget_budget}"
    parser.add_argument("--budget", type=float, default=default.forget_budget, help=budget)
    parser.add_argument("--loss", choices=sorted(LOSSES), default=default.loss, help=f"default: {default.loss}")
    parser.add_argument("--reference", choices=REFERENCES, default=default.reference, help="the frozen model's errors")
    parser.add_argument("--lora", type=positive_int, default=None, metavar="RANK", help="default: all weights")
    parser.add_argument("--report", choices=REPORTS, default=None, help="a tracker to tell besides loss.jsonl")
    parser.add_argument("--any-checkpoint", action="store_true", help="take clips that another checkpoint made, too")
    parser.add_argument("--seed", type=seed, default=default.seed)


def run(args: argparse.Namespace) -> int:
    """Run the block, and print where the model is."""
    if not 0.05 <= args.budget <= 1:
        raise UserError(f"The budget must be between 0.05 and 1, got {args.budget:g}; 0.3 is usual.", "budget")
    recipe = replace(
        NDPORecipe(),
        steps=args.steps,
        forget_budget=args.budget,
        loss=args.loss,
        negatives=args.negatives,
        seed=args.seed,
        reference=args.reference,
        lora_rank=args.lora or 0,
    )
    records = read_labels(args.labels, args.issue)
    folder = find_variant(args.model).folder
    model = NanoModel.load(folder)
    negatives, notes = nano_negatives(records, model, folder, args.labels, any_checkpoint=args.any_checkpoint)
    for note in notes:
        print(note, file=sys.stderr)
    sft = RECIPES[args.recipe]()
    block = train(
        recipe,
        sft,
        model,
        negatives,
        corpus_folder=args.corpus,
        run=args.folder,
        features=args.features,
        report=args.report,
    )
    return report(block)


def report(block: Block) -> int:
    """Print the block's model. Raises UserError, which names the model kept, for one that was stopped."""
    if block.stopped_by is not None:
        raise UserError(
            f"The block was stopped: {block.stopped_by}. The last good model, of step {block.step}, is {block.model}.",
            "run",
        )
    print(block.model)
    return 0
