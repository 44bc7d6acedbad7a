"""A review store with a hundred thousand clips: how long the next clip, an undo and the agreement page take.

Three annotators have answered eight tenths of everything, two to a clip. Times are of whole HTTP requests, commit and
next clips included, as the page makes them.
"""

import random
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import func, insert, select, update

from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.rows import AnswerRow, ClipRow, CursorRow, EventRow, ItemRow
from studio.review.store import ReviewStore
from tests.proofs.review_kills import Server, free_port
from tests.studio.review.small_clips import small_clip

ANNOTATORS = ("ada", "ben", "cem")
ANSWERED_SHARE = 0.8
CHUNK = 5000


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


def fill(store: ReviewStore, clips: int) -> int:
    """A batch of `clips` real records; the answers are written as the store would leave them. Returns its id."""
    chance = random.Random(3)
    batch = store.add_batch("Many", "lead", overlap=2).id
    pattern = small_clip(0).model_dump() | {"created_s": time.time()}
    ids = [f"{number:064x}" for number in range(clips)]
    for some in _chunks(ids):
        with store.database.writing() as session:
            session.execute(insert(ClipRow), [pattern | {"id": clip_id} for clip_id in some])
    store.add_items(batch, [(clip_id, None) for clip_id in ids])
    with store.database.reading() as session:
        places = list(session.execute(select(ItemRow.id, ItemRow.place).order_by(ItemRow.place)))
    done = places[: round(ANSWERED_SHARE * clips)]
    now_s = time.time() - 10 * len(done)
    last: dict[str, int | None] = dict.fromkeys(ANNOTATORS)
    number = 0
    for some in _chunks(done):
        events: list[dict[str, Any]] = []
        answers: list[dict[str, Any]] = []
        for item_id, _ in some:
            for annotator in chance.sample(ANNOTATORS, 2):
                now_s += 5
                issue = chance.choice([None, "jitter", "blur", "lips-off"])
                mark = {"severity": 2, "span_s": [0.2, 0.8], "region": None}
                keys = [("mark", {"issue": issue, "mark": mark}), ("bad", {})] if issue else [("good", {})]
                for kind, data in keys:
                    number += 1
                    about = {"batch_id": batch, "item_id": item_id, "annotator": annotator, "created_s": now_s}
                    chain = {"number": number, "previous": last[annotator], "undoes": None}
                    events.append({"client_id": uuid.uuid4().hex, "kind": kind, "data": data, **about, **chain})
                    last[annotator] = number
                answers.append(
                    {
                        "item_id": item_id,
                        "annotator": annotator,
                        "batch_id": batch,
                        "verdict": keys[-1][0],
                        "issues": issue or "",
                        "marks": {issue: mark} if issue else {},
                        "note": "",
                        "answered_s": now_s,
                    }
                )
        with store.database.writing() as session:
            session.execute(insert(EventRow), events)
            session.execute(insert(AnswerRow), answers)
            closed = [item_id for item_id, _ in some]
            session.execute(update(ItemRow).where(ItemRow.id.in_(closed)).values(answers=2, open=False))
    with store.database.writing() as session:
        place = done[-1][1] if done else -1.0
        session.add_all(CursorRow(batch_id=batch, annotator=name, place=place) for name in ANNOTATORS)
        if not store.database.is_sqlite:
            session.execute(select(func.setval("events_number_seq", max(1, number))))
    return batch


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


def _chunks(values: list) -> list[list]:
    return [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]
