"""`python -m trainer proof-data`: what data preparation promises, measured on videos with planted defects.

Two rows: every defect is found for its own reason and no clean video is lost; a preparation that is killed at random
moments ends in the same bytes. Limits are those of PrepareSettings but for two: a cut or a text rejects the video, so
that finding it can be told from mending it.
"""

import argparse
import multiprocessing
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.inputs import file_sha256
from trainer.arguments import positive_int, seed, writable_folder
from trainer.prepare.nano_features import NANO_GROUPS
from trainer.prepare.pipeline import WORK, Preparation, prepare
from trainer.prepare.planted import DEFECTS, Planted, plant
from trainer.prepare.report import Yield
from trainer.prepare.settings import PrepareSettings
from trainer.prepare.workers import LocalWorkers

KILLED_VIDEOS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `proof-data`."""
    parser.add_argument("--folder", type=Path, default=Path("data/planted"), help="default: data/planted")
    parser.add_argument("--seed", type=seed, default=0, help="of the videos; default: 0")
    parser.add_argument("--workers", type=positive_int, default=2, help="processes; default: 2")
    parser.add_argument("--kills", type=positive_int, default=10, help="default: 10")
    parser.add_argument("--out", type=Path, default=Path("docs/proof-data.md"), help="default: docs/proof_data.md")


def run(args: argparse.Namespace) -> int:
    """Make the videos, prepare them, kill, and write the report. 1 where a goal is missed."""
    writable_folder(args.folder)
    planted = _apart(plant, args.folder / "videos", args.seed)
    settings = PrepareSettings(cuts="drop", overlays="drop")
    workers = LocalWorkers(args.workers)
    asked = Preparation(args.folder / "videos", args.folder / "prepared", settings, workers=workers)
    result = _apart(prepare, asked)
    found = judge(planted, result)
    kills = kill_and_compare(args.folder, settings, args.kills)
    args.out.write_text(_report(planted, found, kills, result, args.seed), encoding="utf-8")
    print(args.out)
    return 0 if found == {video.name: video.defect for video in planted} and kills.equal else 1


def _apart(function: Callable[..., Any], *args: Any) -> Any:
    """`function` in a process of its own, so that this one holds no threads when it forks."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def judge(planted: list[Planted], result: Yield) -> dict[str, str | None]:
    """For every video the reason for which it, or its clip, is rejected; None where a clip of it is accepted.

    What is left of a video behind its last whole clip does not count.
    """
    reasons: dict[str, set[str]] = defaultdict(set)
    for row in result.rows:
        if row["reason"] != "too short":
            reasons[row["id"].split("#")[0]].add(row["reason"])
    return {video.name: " and ".join(sorted(reasons[video.name])) or None for video in planted}


@dataclass(frozen=True)
class Kills:
    """`before_the_end` of the kills hit a run; the others came when it had ended. `files` were compared."""

    asked: int
    before_the_end: int
    files: int
    equal: bool
    undisturbed_s: float


def kill_and_compare(folder: Path, settings: PrepareSettings, kills: int) -> Kills:
    """Prepare a few videos undisturbed, and again while being killed (signal 9) at random moments, then to the end."""
    source = folder / "killed_videos"
    for number in range(KILLED_VIDEOS):
        name = f"clean_{number:02d}.mp4"
        source.mkdir(exist_ok=True)
        shutil.copy(folder / "videos" / name, source / name)
    outs = folder / "undisturbed", folder / "killed"
    for out in outs:
        shutil.rmtree(out, ignore_errors=True)
    small = settings.model_copy(update={"shard_clips": 1})
    # A fork has all modules loaded, so that the kills hit the work and not the start of Python.
    context = multiprocessing.get_context("fork")
    started = time.monotonic()
    whole = context.Process(target=_prepare, args=(source, outs[0], small))
    whole.start()
    whole.join()
    undisturbed_s = time.monotonic() - started
    moments = random.Random(0)
    before_the_end = 0
    for _ in range(kills):
        process = context.Process(target=_prepare, args=(source, outs[1], small))
        process.start()
        process.join(moments.uniform(0.0, 2 * undisturbed_s / kills))
        before_the_end += process.is_alive()
        process.kill()
        process.join()
    last = context.Process(target=_prepare, args=(source, outs[1], small))
    last.start()
    last.join()
    one, other = (_hashes(out) for out in outs)
    return Kills(kills, before_the_end, len(one), bool(one) and one == other, undisturbed_s)


def _prepare(source: Path, out: Path, settings: PrepareSettings) -> None:
    prepare(Preparation(source, out, settings))


def _hashes(out: Path) -> dict[str, str]:
    """Of everything that a training reads."""
    paths = [path for path in out.rglob("*") if path.is_file() and WORK not in path.parts and path.name != ".lock"]
    return {str(path.relative_to(out)): file_sha256(path) for path in paths}


def _report(planted: list[Planted], found: dict[str, str | None], kills: Kills, result: Yield, made_from: int) -> str:
    rows = []
    for defect in (None, *DEFECTS):
        names = [video.name for video in planted if video.defect == defect]
        right = sum(found[name] == defect for name in names)
        others = sorted({found[name] or "accepted" for name in names if found[name] != defect})
        wanted = "accepted" if defect is None else f"rejected: {defect}"
        rows.append(f"| {wanted} | {right} of {len(names)} | {', '.join(others) or '–'} |")
    measured = [row for row in result.rows if row["status"] == "accepted"]
    lips = sorted(row["lip_r"] for row in measured)
    lags = sorted({row["lip_lag_frames"] for row in measured})
    verdict = "equal" if kills.equal else "NOT equal"
    return f"""# Data preparation: planted defects and kills

Made by `make proof-data` (seed {made_from}). {len(planted)} videos that nano speaks from the bundled portraits, each
with a voice of its own; limits as in `trainer/prepare/settings.py`, with `--cuts drop --overlays drop`.

| wanted | as wanted | instead |
|---|---|---|
{chr(10).join(rows)}

Accepted clips: `proxy/mesh_lip_r` {lips[0]:.2f} to {lips[-1]:.2f} (median {lips[len(lips) // 2]:.2f}), lag
{", ".join(f"{lag:+d}" for lag in lags)} frames. These are renderings, cleaner than films of people: on real videos look
at the yield report before trusting a limit.

## Yield

{result.text()}
## Kills

{kills.asked} kills (signal 9) at random moments of preparing {KILLED_VIDEOS} videos with {len(NANO_GROUPS)} groups of
features, {kills.before_the_end} of them while it was at work (undisturbed: {kills.undisturbed_s:.0f} s), then one
run to the end: {kills.files} files (shards, manifest, report) **{verdict}**, byte by byte, to the undisturbed ones.
"""
