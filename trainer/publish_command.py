"""`python -m trainer publish`: put a finished run where the studio finds it, with its loss curves beside it."""

import argparse
import json
import shutil
from pathlib import Path

from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d

from engine.errors import UserError
from engine.model.nano import NanoModel
from engine.variants import NANO

_SMOOTHED_SHARE = 70
"""The smooth line is a mean over one in this many of a log's rows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `publish`."""
    parser.add_argument("--run", dest="folder", type=Path, default=Path("runs/nano"), help="default: runs/nano")
    encoder = Path("runs/audio_encoder")
    parser.add_argument("--audio-encoder", type=Path, default=encoder, help=f"its run, for its log; default: {encoder}")
    parser.add_argument("--out", type=Path, default=NANO.folder, help="default: where the bundled nano is")


def run(args: argparse.Namespace) -> int:
    """Load the run's model to see that it is whole, copy it and both logs, draw the curves."""
    logs = {"loss.jsonl": args.folder / "loss.jsonl", "audio_encoder.jsonl": args.audio_encoder / "audio_encoder.jsonl"}
    missing = [str(path) for path in logs.values() if not path.is_file()]
    if missing:
        raise UserError(f"Missing: {', '.join(missing)}; give the finished runs with --run and --audio-encoder.", "run")
    NanoModel.load(args.folder / "model")
    shutil.copytree(args.folder / "model", args.out, dirs_exist_ok=True)
    for name, path in logs.items():
        shutil.copy(path, args.out / name)
    _draw(logs, args.out / "loss.png")
    print(args.out)
    return 0


def _draw(logs: dict[str, Path], picture: Path) -> None:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, (name, path) in zip(figure.subplots(1, 2), logs.items(), strict=True):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
        axes.plot(steps, losses, linewidth=0.4, alpha=0.4)
        axes.plot(steps, uniform_filter1d(losses, 1 + len(losses) // _SMOOTHED_SHARE, mode="nearest"))
        axes.set(title=name, xlabel="step", ylabel="loss", yscale="log")
    figure.savefig(picture, dpi=110)
