"""`python -m trainer prove [ROW …]`: what the trainer promises, on tiny real runs, as a table."""

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

from engine.contract.errors import UserError

ROWS = {
    "kills": "trainer.prove.kills",
    "sharing": "trainer.prove.sharing",
    "geometry": "trainer.prove.geometry",
    "forgetting": "trainer.prove.forgetting",
    "nano": "trainer.prove.nano",
}
"""Each a module with `prove(folder) -> rows of (what, measured, whether the goal is met)`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `prove`."""
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: all of {', '.join(ROWS)}")
    parser.add_argument("--out", type=Path, default=None, help="write the table there too")


def run(args: argparse.Namespace) -> int:
    """Prove row after row; 1 where a goal is missed."""
    unknown = [name for name in args.rows if name not in ROWS]
    if unknown:
        raise UserError(f"Unknown row {unknown[0]!r}: choose from {', '.join(ROWS)}.", "rows")
    lines, met = ["| what | measured | goal met |", "|---|---|---|"], True
    with tempfile.TemporaryDirectory() as folder:
        for name in args.rows or ROWS:
            for what, measured, is_met in import_module(ROWS[name]).prove(Path(folder)):
                lines.append(f"| {what} | {measured} | {'yes' if is_met else 'no'} |")
                print(lines[-1], flush=True)
                met = met and is_met
    if args.out is not None:
        args.out.write_text("\n".join(lines) + "\n")
    return 0 if met else 1
