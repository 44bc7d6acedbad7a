"""`python -m trainer cycle`: NDPO and SFT in turn; stops for labels, and goes on when it is started again."""

import argparse
from dataclasses import replace
from pathlib import Path

from engine.contract.variants import find_variant
from trainer.cli.arguments import add_released, forget_budget, positive_float, positive_int, released_subject, seed
from trainer.data.files import writable_folder
from trainer.loop.recipes import RECIPES, NDPORecipe, released_soup
from trainer.objectives.cycle import Cycles, Waiting, finished, run_cycles
from trainer.objectives.ndpo import REFERENCES
from trainer.subjects.nano_subject import NanoSubject
from trainer.subjects.subject import Subject


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cycle`."""
    default = NDPORecipe()
    parser.add_argument("--model", default="nano", help="the model to begin with: nano, preview, flash or a folder")
    parser.add_argument("--run", dest="folder", type=Path, required=True, help="resumed if it exists")
    parser.add_argument("--issue", action="append", default=[], help="one per block, in turn; repeat the flag")
    parser.add_argument("--cycles", type=positive_int, default=2, help="default: 2")
    parser.add_argument("--corpus", type=Path, default=Path("data/speech"), help="default: data/speech")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="nano-soup", help="of nano's real batches")
    parser.add_argument("--steps", type=positive_int, default=default.steps, help="of a block of NDPO")
    parser.add_argument("--sft-steps", type=positive_int, default=300, help="of the SFT block behind it; default: 300")
    parser.add_argument(
        "--budget", type=forget_budget, default=default.forget_budget, help="how far to forget, 0.05 to 1"
    )
    parser.add_argument(
        "--rate-share",
        type=positive_float,
        default=default.learning_rate_share,
        help=f"of the recipe's learning rate, 0.1 to 0.3 is usual; default: {default.learning_rate_share}",
    )
    parser.add_argument("--reference", choices=REFERENCES, default=default.reference, help="the frozen model's errors")
    parser.add_argument("--lora", type=positive_int, default=None, metavar="RANK", help="default: all weights")
    parser.add_argument("--seed", type=seed, default=default.seed)
    add_released(parser)


def run(args: argparse.Namespace) -> int:
    """Do what can be done now; say what labels are needed, or where the model is."""
    start = find_variant(args.model)
    block = replace(
        NDPORecipe(),
        steps=args.steps,
        forget_budget=args.budget,
        learning_rate_share=args.rate_share,
        seed=args.seed,
        negatives=NDPORecipe().negatives if start.is_nano else args.batch,
        reference=args.reference,
        lora_rank=args.lora or 0,
    )
    if not start.is_nano:
        released_subject(args, args.model)  # what is missing is said before anything is waited for
    run_folder = writable_folder(args.folder)

    def begun_with(folder: Path) -> Subject:
        if start.is_nano:
            return NanoSubject.begun_with(folder, args.corpus, features=run_folder / "features.npy")
        return released_subject(args, str(folder))

    done = run_cycles(
        Cycles(
            start.folder,
            run_folder,
            begun_with,
            block,
            RECIPES[args.recipe]() if start.is_nano else released_soup(),
            tuple(args.issue),
            args.cycles,
            args.sft_steps,
        )
    )
    if isinstance(done, Waiting):
        issue = f"the issue {done.issue}" if done.issue else "what is wrong"
        print(
            f"Cycle {done.number} of {args.cycles} waits for labels. Generate clips with --model {done.model}, mark "
            f"{issue} in the review tab, export them to {done.labels}, and start the same command again."
        )
    else:
        print(finished(done, args.folder, args.cycles))
    return 0
