"""`python -m research NAME … | all`: run the ablations with nano and write their pages.

Exit 0 done, 2 the command is wrong (one line on stderr).
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from engine.contract.errors import UserError
from engine.contract.variants import NANO
from engine.nano.model import NanoModel
from research.catalogue import EXPERIMENTS
from research.plan import Experiment
from research.report import Circumstances, write_report
from research.results import Laboratory, Result
from trainer.cli.arguments import positive_int
from trainer.data.files import writable_folder

MOST_MINUTES = 8.0
STEPS_PER_MINUTE = 150
"""Of training, on one core that has nothing else to do. What an arm really took is in its report."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", choices=[*EXPERIMENTS, "all"], help=", ".join(EXPERIMENTS))
    parser.add_argument("--model", type=Path, default=NANO.folder, help="the model that all arms share; default: nano")
    parser.add_argument("--corpus", type=Path, default=Path("data/speech"), help="default: data/speech")
    parser.add_argument("--runs", type=Path, default=Path("runs/experiments"), help="results are kept here")
    parser.add_argument("--out", type=Path, default=Path("docs/results/ablations"), help="pages are written here")
    parser.add_argument("--seeds", type=positive_int, default=3, help="default: 3")
    parser.add_argument(
        "--clips", type=positive_int, default=20, help="of every kind, for each arm and seed; default: 20"
    )
    parser.add_argument(
        "--minutes",
        type=_minutes,
        default=MOST_MINUTES,
        help="of training for each arm and seed; at most and default: 8",
    )
    parser.add_argument("--inference-only", action="store_true", help="leave the arms out that are trained")


def run(args: argparse.Namespace) -> int:
    """Run every arm that has no result yet, seed by seed, and write the pages. Raises UserError for what cannot be."""
    chosen = [EXPERIMENTS[name] for name in (EXPERIMENTS if "all" in args.names else args.names)]
    for folder in (args.runs, args.out):
        writable_folder(folder)
    torch.set_num_threads(1)
    model = NanoModel.load(args.model)
    steps = round(args.minutes * STEPS_PER_MINUTE)
    laboratory = Laboratory(model, args.corpus, args.runs, clips=args.clips, steps=steps)
    circumstances = Circumstances(args.clips, model.checkpoint_sha256, datetime.now(UTC).date())
    for experiment in chosen:
        results = _results(experiment, laboratory, args.seeds, inference_only=args.inference_only)
        print(write_report(experiment, results, circumstances, args.out), flush=True)
    return 0


def _results(
    experiment: Experiment, laboratory: Laboratory, seeds: int, *, inference_only: bool
) -> dict[str, list[Result]]:
    """Seed by seed, so that what was killed early holds every arm. Trained arms with results of all seeds are kept."""
    arms = [arm for arm in experiment.arms if not (arm.is_trained and inference_only)]
    arms += [
        arm for arm in experiment.arms if arm not in arms and all(laboratory.kept(arm, seed) for seed in range(seeds))
    ]
    results: dict[str, list[Result]] = {arm.name: [] for arm in experiment.arms if arm in arms}
    for seed in range(seeds):
        for arm in arms:
            results[arm.name].append(
                laboratory.run(arm, seed, lambda said: print(f"{experiment.name}: {said}", flush=True))
            )
    return results


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes <= MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {MOST_MINUTES:g}; got {text!r}")
    return minutes


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m research", description=__doc__.split("\n")[0])
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
