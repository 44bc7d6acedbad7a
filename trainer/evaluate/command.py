"""`python -m trainer evaluate`: the lip metrics of finished videos, as a table and as JSON."""

import argparse
import json
import os
from pathlib import Path

from engine.errors import UserError
from trainer.arguments import writable_folder
from trainer.evaluate.lag_correlation import LagCorrelation
from trainer.evaluate.lip_metrics import VideoEvaluation, evaluate_video

SCHEMA_VERSION = 1
HEADER = f"{'video':<32} {'metric':<18} {'r':>6} {'lag':>5} {'p':>6} {'null 95 %':>9} {'frames':>6} {'coverage':>8}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="a video of a speaking face, with sound")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as JSON")
    parser.add_argument(
        "--english", action="store_true", help="the speech is English: also compare with the phones that are heard"
    )


def run(args: argparse.Namespace) -> int:
    """Measure every video, print a row each, write the JSON. Raises UserError on the first that cannot be measured."""
    if args.json is not None:
        _check_writable(args.json)
    for path in args.videos:
        if not os.path.isfile(path):
            raise UserError(f"The video {path} does not exist; check the path.", "video")
    print(HEADER)
    evaluations = []
    for path in args.videos:
        evaluation = evaluate_video(path, english=args.english)
        evaluations.append(evaluation)
        print("\n".join(rows(evaluation)), flush=True)
    if args.json is not None:
        report = {"schema_version": SCHEMA_VERSION, "videos": [evaluation.as_json() for evaluation in evaluations]}
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _check_writable(path: Path) -> None:
    """Said before the work, which is slow."""
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; give the name of the file to write.", "json")
    if not os.path.isdir(path.parent):
        raise UserError(f"The folder {path.parent} does not exist; create it or choose another.", "json")
    writable_folder(path.parent)


def rows(evaluation: VideoEvaluation) -> list[str]:
    """The table's rows of one video; the lag is in frames at 25 fps, positive where the mouth is behind the sound."""
    metrics: dict[str, LagCorrelation | None] = {
        "proxy/mesh_lip_r": evaluation.mesh_lip_r,
        "proxy/viseme_r": evaluation.viseme_r,
    }
    return [
        f"{evaluation.path.name[:32]:<32} {name:<18} {metric.r:>6.3f} {metric.lag_frames:>+5d} {metric.p:>6.3f} "
        f"{metric.null_95:>9.3f} {metric.frames:>6d} {evaluation.coverage:>8.1%}"
        for name, metric in metrics.items()
        if metric is not None
    ]
