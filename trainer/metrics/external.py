"""Metrics whose own code lives in an environment of its own: Q-Align (IQA and ASE) and VBench-2.0, as subprocesses.

Their packages and ours do not fit into one environment. The user names that environment's Python; what runs there is
their published interface, a few lines for Q-Align, the repository's evaluate.py for VBench-2.0. Knows nothing about
what the numbers mean.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.contract.errors import UserError
from trainer.metrics.weights import PUBLISHED, QAlign, VBench2, check_published

_GIVE_UP_S = 24 * 3600
_SHOWN_LINES = 3

_Q_ALIGN = """\
import json, sys
from q_align import QAlignAestheticScorer, QAlignScorer, load_video
from q_align.model.builder import load_pretrained_model
given = json.load(sys.stdin)
tokenizer, model, processor, _ = load_pretrained_model(given["model"], None, "mplug_owl2", device=given["device"])
parts = {"tokenizer": tokenizer, "model": model, "image_processor": processor}
scorers = {"IQA": QAlignScorer(**parts), "ASE": QAlignAestheticScorer(**parts)}
scores = {}
for path in given["videos"]:
    frames = load_video(path)
    scores[path] = {name: sum(float(s) for s in scorer(frames)) / len(frames) for name, scorer in scorers.items()}
json.dump(scores, open(given["out"], "w"))
"""


def q_align_scores(
    settings: QAlign, videos: Sequence[Path], published: Path = PUBLISHED
) -> tuple[str, dict[Path, dict[str, float]]]:
    """The weights' hash, and IQA and ASE of every video: the mean over its frames, one a second, in [0, 1].

    Raises UserError where the weights are not the published ones or the environment does not do it.
    """
    sha256 = check_published(settings.model, "q_align", published)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.json"
        given = {
            "model": str(settings.model),
            "device": settings.device,
            "videos": [str(path.resolve()) for path in videos],
            "out": str(out),
        }
        _run("Q-Align", [str(settings.python), "-c", _Q_ALIGN], given=json.dumps(given))
        scores = _read_json("Q-Align", out)
    try:
        return sha256, {
            path: {name: float(scores[str(path.resolve())][name]) for name in ("IQA", "ASE")} for path in videos
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"Q-Align gave no score for every video ({type(error).__name__}: {error}).", "weights"
        ) from None


def vbench2_scores(settings: VBench2, videos: Sequence[Path]) -> dict[str, dict[Path, float]]:
    """The score of every dimension for every video, by the repository's evaluate.py with videos of one's own.

    Raises UserError where the repository is not one or the environment does not do it.
    """
    script = settings.repository / "evaluate.py"
    if not script.is_file():
        raise UserError(f"{settings.repository} holds no evaluate.py: give VBench-2.0's own folder.", "weights")
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        linked = Path(folder) / "videos"
        linked.mkdir()
        names = {f"{number:05d}{path.suffix}": path for number, path in enumerate(videos)}
        for name, path in names.items():
            (linked / name).symlink_to(path.resolve())
        for dimension in settings.dimensions:
            out = Path(folder) / dimension
            command = [str(settings.python), str(script), "--videos_path", str(linked), "--dimension", dimension]
            command += ["--output_path", str(out), "--mode", "custom_input"]
            _run(f"VBench-2.0's {dimension}", command, folder=settings.repository)
            scores[dimension] = _vbench2_result(dimension, out, names)
    return scores


def _vbench2_result(dimension: str, out: Path, names: Mapping[str, Path]) -> dict[Path, float]:
    """By video, from the file *_eval_results.json: {dimension: [mean, [{"video_path", "video_results"}, ...]]}."""
    found = sorted(out.rglob("*eval_results.json"))
    if not found:
        raise UserError(f"VBench-2.0's {dimension} wrote no results.", "weights")
    try:
        _, each = _read_json(f"VBench-2.0's {dimension}", found[-1])[dimension]
        return {names[Path(row["video_path"]).name]: float(row["video_results"]) for row in each}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"VBench-2.0's {dimension} wrote results of another form ({type(error).__name__}: {error}).", "weights"
        ) from None


def _run(what: str, command: list[str], *, given: str | None = None, folder: Path | None = None) -> None:
    # Their environment is theirs: ours must not reach into it.
    clean = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, cwd=folder, env=clean, timeout=_GIVE_UP_S, check=False
        )
    except OSError as error:
        raise UserError(f"{what} cannot be started with {command[0]} ({error.strerror}).", "weights") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{what} did not end within a day.", "weights") from None
    if done.returncode:
        said = " / ".join(line.strip() for line in done.stderr.strip().splitlines()[-_SHOWN_LINES:])
        raise UserError(f"{what} failed in its own environment (exit {done.returncode}): {said[:400]}", "weights")


def _read_json(what: str, path: Path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{what} left no readable result ({error}).", "weights") from None
