"""kill -9 at random moments: a training that was killed ends with the very weights of one that was not."""

import random
import subprocess
import sys
import time
from pathlib import Path

from safetensors.torch import load_file
from torch import equal

from trainer.prove.worker import KINDS, prepare

KILLS = 10


def _start(place: Path, run: Path, kind: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "trainer.prove.worker", str(place), str(run), kind]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _rows(run: Path) -> int:
    log = run / "loss.jsonl"
    return len(log.read_bytes().splitlines()) if log.exists() else 0


def killed_as_whole(place: Path, kind: str, kills: int, seed: int) -> tuple[bool, int]:
    """Whether the weights are equal bit for bit, and at how many different numbers of logged steps it was killed."""
    whole, killed = place / f"{kind}-whole", place / f"{kind}-killed"
    if _start(place, whole, kind).wait() != 0:
        raise RuntimeError(f"the {kind} that was left alone failed")
    draw = random.Random(seed)
    moments = set()
    for _ in range(kills):
        process, seen = _start(place, killed, kind), _rows(killed)
        # From the moment it works again; a process that is still importing has nothing to lose.
        while process.poll() is None and _rows(killed) <= seen:
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, 0.25))
        process.kill()
        process.wait()
        moments.add(_rows(killed))
    if _start(place, killed, kind).wait() != 0:
        raise RuntimeError(f"the {kind} that was killed did not go on")
    files = [sorted((run / "model").rglob("*.safetensors")) for run in (whole, killed)]
    same = all(
        equal(tensor, load_file(other)[name])
        for file, other in zip(*files, strict=True)
        for name, tensor in load_file(file).items()
    )
    return same, len(moments)


def prove(folder: Path) -> list[tuple[str, str, bool]]:
    """Rows of (what, measured, whether the goal is met)."""
    place = prepare(folder / "kills")
    rows = []
    for number, kind in enumerate(KINDS):
        same, moments = killed_as_whole(place, kind, KILLS, number)
        said = f"{'bit-equal' if same else 'different'} weights, killed at {moments} different steps"
        rows.append((f"kill -9 at {KILLS} random moments of {kind}", said, same))
    return rows
