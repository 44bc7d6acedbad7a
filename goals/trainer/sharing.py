"""Two processes against one: DDP and FSDP2 reach the losses that one process reaches, for SFT and Negative-DPO.

Both processes are started as `accelerate launch` starts them, on the CPU, where they speak over gloo.
"""

import socket
from pathlib import Path

from goals.goal import Row
from goals.trainer.worker import KINDS, prepare, start
from trainer.loop.checkpoint import read_rows

STEPS = 50
TOLERANCE = 1e-5
WAYS = ("ddp", "fsdp2")


def environment(way: str, number: int, count: int, port: int) -> dict[str, str]:
    """What `accelerate launch` with `trainer/configs/{way}.yaml` would set for process `number` of `count`, on CPUs."""
    shared = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"} if way == "fsdp2" else {}
    place = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count)}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return shared | place | meeting | {"ACCELERATE_USE_CPU": "true"}


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def by_two(place: Path, run: Path, kind: str, way: str, steps: int) -> list[float]:
    """The losses of the training `kind` as two processes log them. Raises RuntimeError where one fails."""
    port = free_port()
    running = [start(place, run, kind, steps, environment(way, number, 2, port)) for number in range(2)]
    for process in running:
        process.join()
    if any(process.exitcode for process in running):
        raise RuntimeError(f"two processes ended with {[process.exitcode for process in running]}")
    return losses(run)


def losses(run: Path) -> list[float]:
    """As logged."""
    return [row["loss"] for row in read_rows(run / "loss.jsonl")]


def measure_rows(folder: Path) -> list[Row]:
    """The rows; what is trained lies in `folder`."""
    place = prepare(folder / "sharing")
    rows = []
    for kind in KINDS:
        alone_run = start(place, place / f"{kind}-one", kind, STEPS)
        alone_run.join()
        alone = losses(place / f"{kind}-one")
        for way in WAYS:
            shared = by_two(place, place / f"{kind}-{way}", kind, way, STEPS)
            apart = max(abs(one - other) for one, other in zip(alone, shared, strict=True))
            said = f"losses of {len(shared)} steps differ by {apart:.1e} at the most"
            met = len(shared) == STEPS and apart <= TOLERANCE
            rows.append(Row(f"two processes ({way}) against one, {kind}", f"≤ {TOLERANCE:g}", said, met))
    return rows
