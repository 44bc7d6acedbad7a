"""What data preparation promises, measured on videos with planted defects.

Two rows: every defect is found for its own reason and no clean video is lost; a preparation that is killed at random
moments ends in the same bytes. Limits are those of PrepareSettings but for two: a cut or a text rejects the video, so
that finding it can be told from mending it.
"""

import json
import multiprocessing
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from engine.media.inputs import file_sha256
from goals.data.planted import DEFECTS, Planted, plant
from goals.goal import Measured, Row
from trainer.data.files import writable_folder
from trainer.prepare.nano_features import NANO_GROUPS
from trainer.prepare.pipeline import WORK, Preparation, prepare
from trainer.prepare.report import Yield
from trainer.prepare.settings import PrepareSettings
from trainer.prepare.workers import LocalWorkers

KILLED_VIDEOS = 2
POLL_S = 0.01


def measure_rows(folder: Path, seed: int, workers: int, kills: int) -> Measured:
    """Make the videos in `folder`, prepare them, kill, compare."""
    writable_folder(folder)
    planted = _apart(plant, folder / "videos", seed)
    settings = PrepareSettings(cuts="drop", overlays="drop")
    result = _apart(
        prepare, Preparation(folder / "videos", folder / "prepared", settings, workers=LocalWorkers(workers))
    )
    found = judge(planted, result)
    killed = kill_and_compare(folder, settings, kills)
    rows = []
    for defect in (None, *DEFECTS):
        names = [video.name for video in planted if video.defect == defect]
        right = sum(found[name] == defect for name in names)
        others = sorted({found[name] or "accepted" for name in names if found[name] != defect})
        what = "clean videos that are accepted" if defect is None else f"planted {defect}: rejected for that reason"
        instead = f" (instead: {', '.join(others)})" if others else ""
        rows.append(
            Row(what, f"{len(names)} of {len(names)}", f"{right} of {len(names)}{instead}", right == len(names))
        )
    rows.append(
        Row(
            f"{kills} kills (signal 9) of preparing {KILLED_VIDEOS} videos with {len(NANO_GROUPS)} groups of features",
            "every file equal, byte by byte, to the undisturbed run's",
            f"{killed.files} files {'equal' if killed.equal else 'NOT equal'}; {killed.before_the_end} kills hit it at "
            f"work, with {', '.join(f'{share:.0%}' for share in killed.done)} done",
            killed.equal,
        )
    )
    return Measured(rows, _details(planted, result))


def _apart(function: Callable[..., Any], *args: Any) -> Any:
    """`function` in a process of its own, which takes its memory and threads with it."""
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
    """`before_the_end` of the kills hit a run; the others came when it had ended. `done` is the share of the answers
    and shards that each kill left behind, `files` were compared."""

    asked: int
    before_the_end: int
    done: list[float]
    files: int
    equal: bool
    undisturbed_s: float


def kill_and_compare(folder: Path, settings: PrepareSettings, kills: int) -> Kills:
    """Prepare a few videos undisturbed, and again while being killed (signal 9), then to the end.

    The undisturbed run's time is cut into as many parts as there are kills, and each kill comes at a random moment of
    its part: so long after the same answer or shard was written.
    """
    source = folder / "killed_videos"
    for number in range(KILLED_VIDEOS):
        name = f"clean_{number:02d}.mp4"
        source.mkdir(exist_ok=True)
        shutil.copy(folder / "videos" / name, source / name)
    outs = folder / "undisturbed", folder / "killed"
    for out in outs:
        shutil.rmtree(out, ignore_errors=True)
    small = settings.model_copy(update={"shard_clips": 1})
    whole = _start(source, outs[0], small)
    reached_s = _watched(whole, outs[0])
    moments = random.Random(0)
    before_the_end, done = 0, list[float]()
    for number in range(kills):
        moment_s = reached_s[-1] * (number + moments.random()) / kills
        written = max(index for index, time_s in enumerate(reached_s) if time_s <= moment_s)
        process = _start(source, outs[1], small)
        while process.is_alive() and _written(outs[1]) < written:
            time.sleep(POLL_S)
        process.join(moment_s - reached_s[written])
        before_the_end += process.is_alive()
        process.kill()
        process.join()
        done.append(_written(outs[1]) / (len(reached_s) - 1))
    _start(source, outs[1], small).join()
    one, other = (_hashes(out) for out in outs)
    return Kills(kills, before_the_end, done, len(one), bool(one) and one == other, reached_s[-1])


def _start(source: Path, out: Path, settings: PrepareSettings) -> BaseProcess:
    """A preparation in a process that has all modules loaded, so that kills hit the work and not the start of Python,
    and no threads: a fork of a process in which torch has computed may wait for ever for those that it lacks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_prepare, args=(source, out, settings))
    process.start()
    return process


def _watched(process: BaseProcess, out: Path) -> list[float]:
    """Seconds from its start to each answer and shard that `process` wrote into `out`, from 0 to its end."""
    started = time.monotonic()
    reached_s = [0.0]
    while process.is_alive():
        reached_s += [time.monotonic() - started] * (_written(out) + 1 - len(reached_s))
        time.sleep(POLL_S)
    reached_s += [time.monotonic() - started] * (_written(out) + 1 - len(reached_s))
    return reached_s


def _written(out: Path) -> int:
    """Answers in the journals and shards."""
    journals = [json.loads(journal.read_text())["answers"] for journal in (out / WORK / "rows").rglob("*.json")]
    return sum(map(len, journals)) + len(list(out.glob("*/*.tar")))


def _prepare(source: Path, out: Path, settings: PrepareSettings) -> None:
    prepare(Preparation(source, out, settings))


def _hashes(out: Path) -> dict[str, str]:
    """Of everything that a training reads."""
    paths = [path for path in out.rglob("*") if path.is_file() and WORK not in path.parts and path.name != ".lock"]
    return {str(path.relative_to(out)): file_sha256(path) for path in paths}


def _details(planted: list[Planted], result: Yield) -> str:
    measured = [row for row in result.rows if row["status"] == "accepted"]
    lips = sorted(row["lip_r"] for row in measured)
    lags = sorted({row["lip_lag_frames"] for row in measured})
    return f"""{len(planted)} videos that nano speaks from the bundled portraits, each with a voice of its own; limits
as in `trainer/prepare/settings.py`, cuts and overlays dropped. Accepted clips: `proxy/mesh_lip_r` {lips[0]:.2f} to
{lips[-1]:.2f} (median {lips[len(lips) // 2]:.2f}), lag {", ".join(f"{lag:+d}" for lag in lags)} frames. These are
renderings, cleaner than films of people: on real videos look at the yield report before trusting a limit.

## Yield

{result.text()}"""
