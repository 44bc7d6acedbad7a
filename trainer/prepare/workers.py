"""Who does the work: this process, a pool of processes, or a Ray cluster; the same functions in all three.

A job is a plain value (what JSON holds) and so is its answer, which comes in any order. A user's mistake in a worker
comes back as the UserError that it is. Ray is an optional requirement (requirements-ray.txt) and needs a folder that
all its machines see. Knows nothing about videos.
"""

import json
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from engine.contract.errors import UserError
from trainer.data.files import DiskFull

Work = Callable[[Any], Any]

MAX_BLOCKS = 2000
"""Pieces that Ray hands out: a job each while there are few jobs."""
_REACHED_S = 10.0


class Workers(Protocol):
    """Anything that can do jobs."""

    def do(self, work: Work, jobs: Sequence[Any]) -> Iterator[Any]:
        """The answers of `work`, a function at the top of a module or a `partial` of one, in any order."""


@dataclass(frozen=True)
class LocalWorkers:
    """`count` processes of this machine, each on one thread; one means this process, on all its threads."""

    count: int = 1

    def do(self, work: Work, jobs: Sequence[Any]) -> Iterator[Any]:
        """See Workers. Raises UserError where a process is killed, most often for lack of memory."""
        if self.count == 1 or len(jobs) <= 1:
            yield from map(work, jobs)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.count, context, initializer=_on_one_thread) as pool:
            try:
                for future in as_completed([pool.submit(work, job) for job in jobs]):
                    yield future.result()
            except BrokenProcessPool as error:
                raise UserError(
                    "A worker was killed, most often for lack of memory: run the same command again with fewer "
                    "--workers; it goes on where it stopped.",
                    "workers",
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@dataclass(frozen=True)
class RayWorkers:
    """Ray Data on the cluster at `address`, or on a new one on this machine where that is empty.

    `gpus` is the share of a GPU that a job takes. A job whose worker or machine dies is done again elsewhere.
    """

    address: str = ""
    gpus: float = 0.0

    def do(self, work: Work, jobs: Sequence[Any]) -> Iterator[Any]:
        """See Workers. Raises UserError where Ray is not installed or not there."""
        ray = self._started()
        rows = [{"job": json.dumps(job)} for job in jobs]
        dataset = ray.data.from_items(rows, override_num_blocks=max(1, min(len(rows), MAX_BLOCKS)))
        answers = dataset.map(partial(_on_ray, work=work), num_cpus=1, num_gpus=self.gpus or None)
        for row in answers.iter_rows():
            answer = json.loads(row["answer"])
            if "error" in answer:
                kind = DiskFull if answer["disk_full"] else UserError
                raise kind(answer["error"], answer["field"])
            yield answer["value"]

    def _started(self) -> Any:
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise UserError(
                "Ray is not installed: pip install -r requirements-ray.txt, or leave --ray out.", "ray"
            ) from error
        if not ray.is_initialized():
            _check_reached(self.address)
            try:
                ray.init(address=self.address or "local", log_to_driver=False, include_dashboard=False)
            except (ConnectionError, ValueError) as error:
                raise UserError(f"No Ray cluster answers at {self.address!r} ({error}).", "ray") from error
        ray.data.DataContext.get_current().enable_progress_bars = False
        return ray


def _check_reached(address: str) -> None:
    """Raises UserError where nobody listens at `address`, HOST:PORT: Ray itself tries for minutes, then ends the
    program. What is no such address is left to it."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=_REACHED_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"No Ray cluster answers at {address!r} ({error}); check the address.", "ray") from None


def _on_one_thread() -> None:
    """Before numpy's and torch's thread pools are there: a fresh process has imported neither."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def _on_ray(row: dict[str, str], work: Work) -> dict[str, str]:
    try:
        answer = {"value": work(json.loads(row["job"]))}
    except UserError as error:
        answer = {"error": error.message, "field": error.field, "disk_full": isinstance(error, DiskFull)}
    return {"answer": json.dumps(answer)}
