"""`python -m trainer synthesize`: write the synthetic speech corpus."""

import argparse
import shutil
from pathlib import Path

from engine.contract.errors import UserError
from trainer.cli.arguments import positive_int, seed
from trainer.data.files import writable_folder
from trainer.data.speech.corpus import synthesize

PROGRAMS = ("espeak-ng", "flite", "festival")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `synthesize`."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/speech"), help="default: data/speech")
    parser.add_argument("--hours", type=float, default=10.0, help="hours of training speech; default: 10")
    parser.add_argument("--seed", type=seed, default=0, help="default: 0")
    parser.add_argument("--workers", type=positive_int, default=2, help="processes; default: 2")


def run(args: argparse.Namespace) -> int:
    """Check, write, and print the hours of every split."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        packages = " ".join([*missing, "festvox-kdlpc16k"] if "festival" in missing else missing)
        raise UserError(f"Not installed: {', '.join(missing)}; on Debian or Ubuntu: apt-get install {packages}.")
    if not 0.01 <= args.hours <= 1000:
        raise UserError(f"--hours must be from 0.01 to 1000; got {args.hours:g}.", "hours")
    folder = writable_folder(args.folder)
    for split, hours in synthesize(folder, args.hours, args.seed, args.workers).items():
        print(f"{split:<15} {hours:6.2f} h")
    return 0
