"""kill -9 at random moments: a training that was killed ends with the very weights of one that was not."""

import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from safetensors.torch import load_file
from torch import equal

from goals.goal import Row
from goals.trainer.worker import KINDS, prepare, start

KILLS = 10
PAUSE_S = 0.2
"""A kill comes so long after a step was logged, at the most: in the middle of steps, of logs and of checkpoints."""


def _rows(run: Path) -> int:
    log = run / "loss.jsonl"
    return len(log.read_bytes().splitlines()) if log.exists() else 0


def _finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"a training that was left alone ended with {process.exitcode}")


def killed_as_whole(place: Path, kind: str, kills: int, seed: int) -> tuple[bool, list[int]]:
    """Whether the weights are equal bit for bit, and the numbers of logged steps at which it was killed.

    The steps are cut into as many parts as there are kills, and each kill comes at a random step of its part.
    """
    whole, killed = place / f"{kind}-whole", place / f"{kind}-killed"
    _finish(start(place, whole, kind))
    draw = random.Random(seed)
    steps, moments = _rows(whole), list[int]()
    for number in range(kills):
        process, seen = start(place, killed, kind), _rows(killed)
        # From the moment it works again; a process that is still beginning has nothing to lose.
        while process.is_alive() and _rows(killed) == seen:
            time.sleep(0.002)
        until = int(steps * (number + draw.random()) / kills)
        while process.is_alive() and _rows(killed) < until:
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, PAUSE_S))
        process.kill()
        process.join()
        moments.append(_rows(killed))
    _finish(start(place, killed, kind))
    files = [sorted((run / "model").rglob("*.safetensors")) for run in (whole, killed)]
    same = all(
        equal(tensor, load_file(other)[name])
        for file, other in zip(*files, strict=True)
        for name, tensor in load_file(file).items()
    )
    return same, moments


def measure_rows(folder: Path) -> list[Row]:
    """The rows; what is trained lies in `folder`."""
    place = prepare(folder / "kills")
    rows = []
    for number, kind in enumerate(KINDS):
        same, moments = killed_as_whole(place, kind, KILLS, number)
        said = f"{'bit-equal' if same else 'different'} weights, killed after {', '.join(map(str, moments))} steps"
        rows.append(Row(f"kill -9 at {KILLS} random moments of {kind}", "the weights of a run left alone", said, same))
    return rows
