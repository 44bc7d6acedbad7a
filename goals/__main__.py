"""`python -m goals [PART] [--row NAME …]`: measure what the project promises and write `docs/results/PART.md`.

Without a part, lists the parts and their rows. Exit 0 where every goal that was measured is met, 1 where one is short,
2 where the command is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch

from engine.contract.errors import UserError
from goals.goal import Part, Place

PARTS = ("engine", "nano", "trainer", "data", "studio", "review")


def part_of(name: str) -> Part:
    """The part `name`, whose modules are imported only now."""
    part: Part = import_module(f"goals.{name}.goals").PART
    return part


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    examples = Path(os.environ.get("ECHOMIMIC_EXAMPLES", "../shared/examples"))
    parser = argparse.ArgumentParser(prog="python -m goals", description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="?", choices=PARTS, help="left out: list everything")
    parser.add_argument("--row", nargs="+", default=[], metavar="NAME", help="only these rows")
    parser.add_argument("--examples", type=Path, default=examples, help="folder of portraits (.jpg) and speech (.wav)")
    parser.add_argument("--videos", type=Path, default=Path("out/goals"), help="where videos and contact sheets go")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="where the page goes")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="told to the measurement, e.g. kills=3"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one part, or list all."""
    arguments = make_parser().parse_args(argv)
    try:
        if arguments.part is None:
            for name in PARTS:
                print(f"{name}: {', '.join(part_of(name).goals)}")
            return 0
        part = part_of(arguments.part)
        unknown = [name for name in arguments.row if name not in part.goals]
        if unknown:
            raise UserError(f"Unknown row {unknown[0]!r}: {part.name} has {', '.join(part.goals)}.", "row")
        wrong = [pair for pair in arguments.set if "=" not in pair]
        if wrong:
            raise UserError(f"--set takes NAME=VALUE; got {wrong[0]!r}.", "set")
        # Ratios and memory are measured with one thread: more wait for each other on a busy machine.
        torch.set_num_threads(1)
        videos = (arguments.videos / part.name).resolve()
        for folder in (videos, arguments.out):
            folder.mkdir(parents=True, exist_ok=True)
        options = dict(pair.split("=", 1) for pair in arguments.set)
        return 0 if part.run(Place(arguments.examples.resolve(), videos, options), arguments.row, arguments.out) else 1
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
