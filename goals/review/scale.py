"""A review store with a hundred thousand clips: how long the next clip, an undo and the agreement page take.

What is in the store is `review_fill`'s. Times are of whole HTTP requests, commit and next clips included, as the page
makes them.
"""

import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import func, select

from goals.review.fill import fill
from goals.review.kills import Server, free_port
from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.rows import EventRow
from studio.review.store import ReviewStore


@dataclass
class Times:
    """Milliseconds: medians, and the slowest of all."""

    clips: int
    events: int
    next_ms: float
    next_slowest_ms: float
    undo_ms: float
    undo_slowest_ms: float
    agreement_ms: float
    next_cpu_ms: float
    undo_cpu_ms: float
    agreement_cpu_ms: float
    """The server's own CPU time a request, the database's included for SQLite: what a busy machine does not change."""


def time_at_scale(url: str, clips: int, requests: int = 200) -> Times:
    """Fill the empty database at `url`, serve it, and measure."""
    store = ReviewStore(Database(url), read_issues())
    batch = fill(store, clips)
    with store.database.reading() as session:
        events = session.scalar(select(func.count()).select_from(EventRow)) or 0
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), port, url) as server:
        cookies = {"echomimic-annotator": "ada"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/review", timeout=60, cookies=cookies) as client:
            cpu = psutil.Process(server.pid).cpu_times
            marks_s = [_cpu_s(cpu())]
            following = _answer(client, batch, requests)
            marks_s.append(_cpu_s(cpu()))
            undoing = _undo(client, batch, 2 * requests)
            marks_s.append(_cpu_s(cpu()))
            agreement = [_milliseconds(client, "GET", f"agreement/{batch}")[0] for _ in range(3)]
            marks_s.append(_cpu_s(cpu()))
    store.database.close()
    return Times(
        clips=clips,
        events=events,
        next_ms=statistics.median(following),
        next_slowest_ms=max(following),
        undo_ms=statistics.median(undoing),
        undo_slowest_ms=max(undoing),
        agreement_ms=max(agreement),
        next_cpu_ms=1000 * (marks_s[1] - marks_s[0]) / len(following),
        undo_cpu_ms=1000 * (marks_s[2] - marks_s[1]) / len(undoing),
        agreement_cpu_ms=1000 * (marks_s[3] - marks_s[2]) / len(agreement),
    )


def _answer(client: httpx.Client, batch: int, requests: int) -> list[float]:
    """Times of answers, each of which brings the next clip."""
    _, said = _milliseconds(client, "GET", f"queue/{batch}")
    times_ms = []
    for _ in range(requests):
        press = {"client_id": uuid.uuid4().hex, "item": said["items"][0]["item"], "kind": "good", "played": True}
        spent_ms, said = _milliseconds(client, "POST", f"keys/{batch}", [press])
        assert said["kept"] and len(said["items"]) == 2
        times_ms.append(spent_ms)
    return times_ms


def _undo(client: httpx.Client, batch: int, requests: int) -> list[float]:
    """Times of undos, back beyond what this visit answered."""
    times_ms = []
    for _ in range(requests):
        press = {"client_id": uuid.uuid4().hex, "item": 0, "kind": "undo"}
        spent_ms, said = _milliseconds(client, "POST", f"keys/{batch}", [press])
        assert said["kept"] and said["items"]
        times_ms.append(spent_ms)
    return times_ms


def _cpu_s(times: Any) -> float:
    return times.user + times.system


def _milliseconds(client: httpx.Client, method: str, path: str, values: Any = None) -> tuple[float, Any]:
    started = time.perf_counter()
    answer = client.request(method, path, json=values)
    spent_ms = 1000 * (time.perf_counter() - started)
    return spent_ms, answer.raise_for_status().json()
