"""`python -m trainer evaluate`: the metrics of finished videos, as a table, as JSON, and as a report like Table 1."""

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from engine.contract.errors import UserError
from trainer.data.files import writable_folder
from trainer.metrics.canonical import CanonicalMetrics, canonical_metrics
from trainer.metrics.evaluation_report import as_json, write_report
from trainer.metrics.lag_correlation import LagCorrelation
from trainer.metrics.video_evaluation import VideoEvaluation, evaluate_video
from trainer.metrics.weights import PUBLISHED, CanonicalWeights, check_published, read_weights

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
HEADER = f"{'video':<32} {'metric':<18} {'r':>6} {'lag':>5} {'p':>6} {'null 95 %':>9} {'frames':>6} {'coverage':>8}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument(
        "videos",
        nargs="+",
        type=Path,
        metavar="VIDEO",
        help="a video of a speaking face, with sound, or a folder of them",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as JSON")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write a report in the shape of Table 1 there")
    parser.add_argument("--title", default="", help="the report's name for these videos; default: their folder's")
    parser.add_argument(
        "--english", action="store_true", help="the speech is English: also compare with the phones that are heard"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="YAML: paths of syncnet, inception, i3d, q_align, vbench2"
    )
    parser.add_argument(
        "--times", type=Path, metavar="FILE", help='JSON: seconds that generating took, {"name.mp4": 42.2, ...}'
    )
    parser.add_argument("--reference", type=Path, metavar="FOLDER", help="real videos, which FID and FVD compare with")
    parser.add_argument(
        "--published", type=Path, default=PUBLISHED, metavar="FILE", help="hashes of published weights; default: ours"
    )


def run(args: argparse.Namespace) -> int:
    """Measure every video, print its rows, write what was asked for. Raises UserError on the first that cannot be."""
    if args.json is not None:
        _check_writable(args.json)
    if args.report is not None:
        writable_folder(args.report)
    videos = [video for path in args.videos for video in find_videos(path)]
    reference = find_videos(args.reference) if args.reference is not None else []
    weights = read_weights(args.weights) if args.weights is not None else CanonicalWeights()
    # Before the work, which is slow.
    syncnet_sha256 = check_published(weights.syncnet, "syncnet", args.published) if weights.syncnet else None
    for kind, path in (("inception", weights.inception), ("i3d", weights.i3d)):
        if path is not None:
            check_published(path, kind, args.published)
    if weights.q_align is not None:
        check_published(weights.q_align.model, "q_align", args.published)
    times_s = _read_times(args.times) if args.times is not None else {}
    print(HEADER)
    evaluations = []
    for video in videos:
        took_s = times_s.get(video.name)
        evaluation = evaluate_video(video, english=args.english, syncnet=weights.syncnet, seconds=took_s)
        evaluations.append(evaluation)
        print("\n".join(rows(evaluation)), flush=True)
    canonical = canonical_metrics(
        evaluations, weights, reference, syncnet_sha256=syncnet_sha256, published=args.published
    )
    _write(args, evaluations, canonical)
    return 0


def find_videos(path: Path) -> list[Path]:
    """`path` itself, or the videos in the folder. Raises UserError where it does not exist or holds none."""
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise UserError(f"The video {path} does not exist; check the path.", "video")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file())
    if not found:
        raise UserError(f"The folder {path} holds no videos ({', '.join(VIDEO_SUFFIXES)}).", "video")
    return found


def _read_times(path: Path) -> dict[str, float]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in given.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f'The times in {path} cannot be used ({type(error).__name__}): give JSON like {{"name.mp4": 42.2}}.',
            "times",
        ) from None


def _write(args: argparse.Namespace, evaluations: list[VideoEvaluation], canonical: CanonicalMetrics) -> None:
    if args.json is not None:
        args.json.write_text(json.dumps(as_json(evaluations, canonical), indent=1) + "\n")
    if args.report is not None:
        title = args.title or args.videos[0].resolve().stem
        print(write_report(args.report, title, evaluations, canonical, datetime.now(UTC)))
        (args.report / "report.json").write_text(json.dumps(as_json(evaluations, canonical), indent=1) + "\n")


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
    lines = [
        f"{evaluation.path.name[:32]:<32} {name:<18} {metric.r:>6.3f} {metric.lag_frames:>+5d} {metric.p:>6.3f} "
        f"{metric.null_95:>9.3f} {metric.frames:>6d} {evaluation.coverage:>8.1%}"
        for name, metric in metrics.items()
        if metric is not None
    ]
    others = {**evaluation.canonical, **{f"proxy/{name}": value for name, value in evaluation.proxies.items()}}
    return lines + [f"{evaluation.path.name[:32]:<32} {name:<22} {value:.3f}" for name, value in others.items()]
