"""A batch of a hundred thousand clips as weeks of labelling would leave it, written straight into the tables.

What is in it (`SHAPE` says it in a sentence): five annotators, two to a clip, have answered the first four fifths of
the order; one clip in a hundred is gold and answered by all of them. Somewhat more than half of what they say is that a
clip is good; else one to three of the twelve issues are wrong, and the second annotator says the same as the first two
times in three. One clip in thirty was skipped by a third annotator first, and a tenth of those wait for their second
answer; one answer in thirty was undone and given again, one in twenty has a note. Nobody labels at night.
"""

import random
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, insert, select, update

from studio.review.labels import SKIPPED, said
from studio.review.rows import AnswerRow, ClipRow, CursorRow, EventRow, ItemRow, LeaseRow, WorkRow
from studio.review.store import PAUSE_S, ReviewStore
from tests.studio.review.small_clips import small_clip

ANNOTATORS = ("ada", "ben", "cem", "dora", "emil")
OVERLAP = 2
ANSWERED_SHARE = 0.8
GOLD_SHARE, SKIPPED_SHARE, UNDONE_SHARE, NOTED_SHARE = 0.01, 1 / 30, 1 / 30, 0.05
GOOD_SHARE, SAME_SHARE, WAITING_SHARE = 0.55, 2 / 3, 0.1
AT_WORK_S, PACE_S = 6 * 3600.0, (6.0, 14.0)
SHAPE = (
    f"{len(ANNOTATORS)} annotators, {OVERLAP} to a clip, have answered {ANSWERED_SHARE:.0%} of the clips; "
    f"{GOLD_SHARE:.0%} are gold and answered by all, {SKIPPED_SHARE:.1%} were skipped by somebody, of which a tenth "
    f"waits for its second answer, {UNDONE_SHARE:.1%} of the answers undone and given again"
)
CHUNK = 2000


@dataclass
class History:
    """Rows to be written; `last` is each annotator's last effective event, `clock_s` their time of day."""

    batch: int
    issues: list[str]
    chance: random.Random
    number: int = 0
    last: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(ANNOTATORS))
    clock_s: dict[str, float] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    leases: list[dict[str, Any]] = field(default_factory=list)
    pressed_s: dict[str, float] = field(default_factory=dict)
    at_work_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ANNOTATORS, 0.0))
    said: dict[int, list[tuple[str, str]]] = field(default_factory=dict)

    def opinion(self) -> list[str]:
        """The issues of a clip."""
        if self.chance.random() < GOOD_SHARE:
            return []
        return sorted(self.chance.sample(self.issues, self.chance.choice((1, 1, 1, 2, 2, 3))))

    def answer(self, item: int, annotator: str, issues: list[str]) -> None:
        """The keys that say so, and what they add up to."""
        marks = {issue: self._mark() for issue in issues}
        note = "Around the mouth" if self.chance.random() < NOTED_SHARE else ""
        for issue, mark in marks.items():
            self._press(item, annotator, "mark", {"issue": issue, "mark": mark})
        if note:
            self._press(item, annotator, "note", {"text": note})
        verdict = "bad" if issues else "good"
        before = self.last[annotator]
        ended = self._press(item, annotator, verdict, {})
        if self.chance.random() < UNDONE_SHARE:
            self._press(item, annotator, "undo", {}, previous=before, undoes=ended)
            self.last[annotator] = before
            self._press(item, annotator, verdict, {})
        self._add_up(item, annotator, verdict, marks, note)

    def skip(self, item: int, annotator: str, *, waiting: bool) -> None:
        """The annotator goes past the item; where it still waits for answers, the lease stays behind."""
        self._press(item, annotator, "skip", {})
        self._add_up(item, annotator, "skip", {}, "")
        if waiting:
            lease = {"batch_id": self.batch, "rank": self.clock_s[annotator], "until_s": 0.0}
            self.leases.append({"item_id": item, "annotator": annotator, **lease})

    def _mark(self) -> dict[str, Any]:
        start_s = round(self.chance.uniform(0.0, 1.0), 2)
        region = [0.2, 0.3, 0.6, 0.7] if self.chance.random() < 0.2 else None
        return {"severity": self.chance.choice((1, 2, 3)), "span_s": [start_s, start_s + 0.6], "region": region}

    def _press(self, item: int, annotator: str, kind: str, data: dict[str, Any], **undo: int | None) -> int:
        self.number += 1
        about = {"batch_id": self.batch, "item_id": item, "annotator": annotator}
        chain = {"previous": self.last[annotator], "undoes": None} | undo
        told = {"number": self.number, "client_id": uuid.UUID(int=self.chance.getrandbits(128)).hex, "kind": kind}
        self.events.append(about | chain | told | {"data": data, "created_s": self.clock_s[annotator]})
        self.last[annotator] = self.number
        now_s = self.clock_s[annotator]
        gap_s = now_s - self.pressed_s.get(annotator, now_s)
        self.at_work_s[annotator] += gap_s if gap_s <= PAUSE_S else 0.0
        self.pressed_s[annotator] = now_s
        return self.number

    def _add_up(self, item: int, annotator: str, verdict: str, marks: dict[str, Any], note: str) -> None:
        answered_s = self.clock_s[annotator]
        about = {"item_id": item, "annotator": annotator, "batch_id": self.batch, "answered_s": answered_s}
        issues = " ".join(sorted(marks))
        self.answers.append(about | {"verdict": verdict, "issues": issues, "marks": marks, "note": note})
        if verdict != SKIPPED:
            self.said.setdefault(item, []).append((verdict, issues))
        today_s = answered_s % 86400
        self.clock_s[annotator] += self.chance.uniform(*PACE_S) + (86400 - AT_WORK_S if today_s > AT_WORK_S else 0.0)


def fill(store: ReviewStore, clips: int) -> int:
    """Make the batch in an empty store. Returns its id."""
    chance = random.Random(3)
    batch = store.add_batch("Many", "lead", overlap=OVERLAP).id
    history = History(batch, list(store.issues), chance)
    pattern = small_clip(0).model_dump() | {"created_s": time.time()}
    ids = [f"{number:064x}" for number in range(clips)]
    for some in _chunks(ids):
        with store.database.writing() as session:
            session.execute(insert(ClipRow), [pattern | {"id": clip_id} for clip_id in some])
    known = [history.opinion() if chance.random() < GOLD_SHARE else None for _ in ids]
    gold = [None if issues is None else {"verdict": "bad" if issues else "good", "issues": issues} for issues in known]
    store.add_items(batch, [(clip_id, None) for clip_id in ids], gold)
    with store.database.reading() as session:
        items = list(session.execute(select(ItemRow.id, ItemRow.place, ItemRow.gold).order_by(ItemRow.place)))
    done = items[: round(ANSWERED_SHARE * clips)]
    history.clock_s = dict.fromkeys(ANNOTATORS, time.time() // 86400 * 86400 - 40 * 86400.0)
    for some in _chunks(done):
        for item_id, _, right in some:
            _answer(history, item_id, right)
        _write(store, history, {item_id for item_id, _, right in some if right is not None})
    with store.database.writing() as session:
        place = done[-1][1] if done else -1.0
        session.add_all(CursorRow(batch_id=batch, annotator=name, place=place) for name in ANNOTATORS)
        for name, pressed_s in history.pressed_s.items():
            worked = WorkRow(batch_id=batch, annotator=name, at_work_s=history.at_work_s[name], pressed_s=pressed_s)
            session.add(worked)
        if not store.database.is_sqlite:
            session.execute(select(func.setval("events_number_seq", max(1, history.number))))
    return batch


def _answer(history: History, item: int, right: dict[str, Any] | None) -> None:
    chance = history.chance
    first = history.opinion() if right is None else right["issues"]
    who = chance.sample(ANNOTATORS, len(ANNOTATORS))
    wanted = len(ANNOTATORS) if right is not None else OVERLAP
    if right is None and chance.random() < SKIPPED_SHARE:
        waiting = chance.random() < WAITING_SHARE
        history.skip(item, who.pop(), waiting=waiting)
        wanted -= waiting
    for annotator in who[:wanted]:
        history.answer(item, annotator, first if chance.random() < SAME_SHARE else history.opinion())


def _write(store: ReviewStore, history: History, gold: set[int]) -> None:
    with store.database.writing() as session:
        for table, rows in ((EventRow, history.events), (AnswerRow, history.answers), (LeaseRow, history.leases)):
            if rows:
                session.execute(insert(table), rows)
            rows.clear()
        changes = [
            {"id": item, "answers": len(answers), "said": said(answers), "open": item in gold or len(answers) < OVERLAP}
            for item, answers in history.said.items()
        ]
        session.execute(update(ItemRow), changes)
    history.said.clear()


def _chunks(values: list) -> list[list]:
    return [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]
