"""`python -m benchmarks bench | proof`: what the engine costs, and what it must show."""

import argparse
import json
import os
import sys
from pathlib import Path

import torch

from benchmarks import bench, proof
from engine.contract.errors import UserError


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    examples = Path(os.environ.get("ECHOMIMIC_EXAMPLES", "../shared/examples"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    job = commands.add_parser("job", help="run one job in this process and print its cost")
    job.add_argument("model", choices=("nano", "pixels"))
    job.add_argument("seconds", type=float)
    job.add_argument("--settings", type=json.loads, default={})
    proof_command = commands.add_parser("proof", help="measure every goal and write the table")
    proof.add_arguments(proof_command)
    bench_command = commands.add_parser("bench", help="measure what the engine costs")
    bench.add_arguments(bench_command)
    for command in (job, proof_command, bench_command):
        command.add_argument("--examples", type=Path, default=examples, help="folder of portraits and speech")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    # Ratios and memory are measured with one thread: more wait for each other on a busy machine.
    torch.set_num_threads(1)
    arguments = make_parser().parse_args(argv)
    try:
        match arguments.command:
            case "job":
                from benchmarks.jobs import print_cost

                print_cost(arguments.model, arguments.seconds, arguments.examples, arguments.settings)
            case "proof":
                proof.run(arguments)
            case "bench":
                bench.run(arguments)
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
