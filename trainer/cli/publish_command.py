"""`python -m trainer publish`: put a finished run where the studio finds it, with its loss curves beside it."""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d

from engine.contract.errors import UserError
from engine.contract.variants import NANO
from engine.nano.model import NanoModel

_SMOOTHED_SHARE = 70
"""The smooth line is a mean over one in this many of a log's rows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `publish`."""
    chain = "runs, each begun with the one before; the last has the model"
    parser.add_argument("--run", dest="runs", type=Path, nargs="+", default=[Path("runs/nano")], help=chain)
    encoder = Path("runs/audio_encoder")
    parser.add_argument("--audio-encoder", type=Path, nargs="+", default=[encoder], help="its runs, for their logs")
    parser.add_argument("--out", type=Path, default=NANO.folder, help="default: where the bundled nano is")


def run(args: argparse.Namespace) -> int:
    """Load the last run's model to see that it is whole, copy it, join the logs, draw the curves."""
    logs = {
        "loss.jsonl": [run / "loss.jsonl" for run in args.runs],
        "audio_encoder.jsonl": [run / "audio_encoder.jsonl" for run in args.audio_encoder],
    }
    missing = [str(path) for paths in logs.values() for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"Missing: {', '.join(missing)}; give the finished runs with --run and --audio-encoder.", "run")
    model = args.runs[-1] / "model"
    NanoModel.load(model)
    shutil.copytree(model, args.out, dirs_exist_ok=True)
    rows = {name: _one_after_the_other(paths) for name, paths in logs.items()}
    for name, log in rows.items():
        (args.out / name).write_text("".join(json.dumps(row) + "\n" for row in log))
    _draw(rows, args.out / "loss.png")
    print(args.out)
    return 0


def _one_after_the_other(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of the logs, whose steps go on from one to the next."""
    rows: list[dict[str, Any]] = []
    for path in paths:
        first = rows[-1]["step"] + 1 if rows else 0
        rows += [row | {"step": first + row["step"]} for row in map(json.loads, path.read_text().splitlines())]
    return rows


def _draw(logs: dict[str, list[dict[str, Any]]], picture: Path) -> None:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(1, 2), logs.items(), strict=True):
        steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
        axes.plot(steps, losses, linewidth=0.4, alpha=0.4)
        axes.plot(steps, uniform_filter1d(losses, 1 + len(losses) // _SMOOTHED_SHARE, mode="nearest"))
        axes.set(title=name, xlabel="step", ylabel="loss", yscale="log")
    figure.savefig(picture, dpi=110)
