"""The review store: batches, clips, items and every key press about them.

Key presses are events that are only ever added; an undo is one too, and goes back as far as there are events. Answers
and counts are brought up to date in the transaction that adds the event, so that what was acknowledged is there after
any crash, once. Whose turn it is, and with what, is `queue`'s.
"""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from engine.contract.errors import UserError
from studio.review.database import Database
from studio.review.issues import Issue
from studio.review.labels import JUDGING, PLAYED, SKIPPED, Answer, KeyPress, add_up, data_of, is_swapped, said
from studio.review.queue import again, let_go
from studio.review.rows import AnswerRow, BatchRow, ClipRow, EventRow, ItemRow, WorkRow

BatchKind = Literal["label", "pairs"]
MOST_ANNOTATORS = 20
PAUSE_S = 120.0
"""Whoever presses no key for longer was away; their pace leaves that out."""


class BatchFacts(BaseModel):
    """What a batch is, in whatever database."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    title: str
    kind: BatchKind
    overlap: int
    stage: str
    side_a: str
    side_b: str
    created_by: str
    created_s: float


class Batch(BatchFacts):
    """Clips, or pairs, that are labelled together."""

    id: int


class Clip(BaseModel):
    """A video by the SHA-256 of its mp4, with the record of how it was made and the names of what lies beside it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    variant: str
    num_frames: int
    fps: float
    width_px: int
    height_px: int
    record: dict[str, Any]
    files: dict[str, Any]


@dataclass(frozen=True)
class ClipSize:
    """What a player needs to know of a clip."""

    id: str
    num_frames: int
    fps: float
    width_px: int
    height_px: int


class ReviewStore:
    """Everything about labels that is kept. Safe to use from several threads and processes."""

    def __init__(self, database: Database, issues: dict[str, Issue]) -> None:
        self.database = database
        self.issues = issues

    def add_batch(
        self,
        title: str,
        created_by: str,
        kind: BatchKind = "label",
        overlap: int = 1,
        *,
        stage: str = "",
        sides: tuple[str, str] = ("", ""),
    ) -> Batch:
        """A new, empty batch. Raises UserError."""
        if not title.strip():
            raise UserError("Give the batch a name.", "title")
        if not 1 <= overlap <= MOST_ANNOTATORS:
            raise UserError(f"Between 1 and {MOST_ANNOTATORS} annotators a clip; got {overlap}.", "overlap")
        with self.database.writing() as session:
            row = BatchRow(
                title=title.strip(),
                kind=kind,
                overlap=overlap,
                stage=stage.strip(),
                side_a=sides[0],
                side_b=sides[1],
                created_by=created_by,
                created_s=time.time(),
            )
            session.add(row)
            session.flush()
            return Batch.model_validate(row)

    def batches(self) -> list[Batch]:
        """Every batch, newest first."""
        with self.database.reading() as session:
            return [Batch.model_validate(row) for row in session.scalars(select(BatchRow).order_by(BatchRow.id.desc()))]

    def batch(self, batch_id: int) -> Batch:
        """One batch. Raises UserError where there is none such."""
        with self.database.reading() as session:
            return _batch(session, batch_id)

    def keep_clip(self, clip: Clip) -> None:
        """Remember a clip; one that is known already stays as it is."""
        with self.database.writing() as session:
            if session.get(ClipRow, clip.id) is None:
                session.add(ClipRow(**clip.model_dump(), created_s=time.time()))

    def clip(self, clip_id: str) -> Clip | None:
        """One clip, or None."""
        with self.database.reading() as session:
            row = session.get(ClipRow, clip_id)
            return None if row is None else Clip.model_validate(row)

    def add_items(
        self, batch_id: int, clips: Sequence[tuple[str, str | None]], gold: Sequence[dict[str, Any] | None] = ()
    ) -> int:
        """Ask about `clips`, ids of a clip and of its rival where the batch holds pairs. Returns how many are new.

        They come after what the batch holds, in random order. `gold` gives the right answer where it is known.
        """
        with self.database.writing() as session:
            held = select(ItemRow.clip_id, ItemRow.other_clip_id).where(ItemRow.batch_id == batch_id)
            known = {(first, other) for first, other in session.execute(held)}
            last = session.scalar(select(func.max(ItemRow.place)).where(ItemRow.batch_id == batch_id))
            layer = 0 if last is None else math.floor(last) + 1
            answers = list(gold) or [None] * len(clips)
            new = []
            for pair, answer in zip(clips, answers, strict=True):
                if pair not in known:
                    known.add(pair)
                    place = layer + random.random()
                    new.append(
                        ItemRow(batch_id=batch_id, clip_id=pair[0], other_clip_id=pair[1], gold=answer, place=place)
                    )
            session.add_all(new)
            return len(new)

    def press(self, annotator: str, batch_id: int, press: KeyPress) -> bool:
        """Add one key press, committed when this returns. False where it was there already. Raises UserError."""
        with self.database.writing() as session:
            batch = _batch(session, batch_id, lock=True)
            if session.scalar(select(EventRow.number).where(EventRow.client_id == press.client_id)):
                return False
            if press.kind == "undo":
                self._undo(session, annotator, batch, press)
            else:
                self._add(session, annotator, batch, press)
            _work(session, annotator, batch.id)
            return True

    def shown(self, annotator: str, items: Sequence[ItemRow]) -> list[tuple[ItemRow, list[ClipSize], Answer]]:
        """The items with what a player needs to know of their clips, and what the annotator has said about each."""
        clip_ids = {clip_id for item in items for clip_id in (item.clip_id, item.other_clip_id) if clip_id}
        columns = (ClipRow.id, ClipRow.num_frames, ClipRow.fps, ClipRow.width_px, ClipRow.height_px)
        theirs = AnswerRow.item_id.in_([item.id for item in items]) & (AnswerRow.annotator == annotator)
        with self.database.reading() as session:
            clips = {
                row.id: ClipSize(*row) for row in session.execute(select(*columns).where(ClipRow.id.in_(clip_ids)))
            }
            answers = {row.item_id: _answer(row) for row in session.scalars(select(AnswerRow).where(theirs))}
        return [
            (
                item,
                [clips[clip_id] for clip_id in (item.clip_id, item.other_clip_id) if clip_id],
                answers.get(item.id, Answer()),
            )
            for item in items
        ]

    def seen(self, annotator: str, items: Sequence[ItemRow]) -> set[int]:
        """The ids of those items that the annotator has played to their end before; what was undone tells it too."""
        with self.database.reading() as session:
            return _seen(session, annotator, [item.id for item in items])

    def answer(self, annotator: str, item_id: int) -> Answer:
        """What the annotator has said about the item so far."""
        with self.database.reading() as session:
            return _answer(session.get(AnswerRow, (item_id, annotator)))

    def _add(self, session: Session, annotator: str, batch: Batch, press: KeyPress) -> None:
        item = session.get(ItemRow, press.item)
        if item is None or item.batch_id != batch.id:
            raise UserError(f"{batch.title} holds no item {press.item}; reload the page.", "item")
        swapped = is_swapped(item.id, annotator)
        pair = batch.kind == "pairs"
        row = session.get(AnswerRow, (item.id, annotator))
        seen = bool(_seen(session, annotator, [item.id]))
        data = data_of(press, _answer(row), self.issues, pair=pair, swapped=swapped, seen=seen)
        top = _top(session, annotator, batch.id)
        data |= {PLAYED: True} if press.played else {}
        _write(session, annotator, item, press, data, previous=top.number if top else None)
        after = self.settle(session, annotator, batch, item, row, at_s=time.time())
        if after.finished:
            let_go(session, annotator, item, skipped=press.kind == "skip")

    def _undo(self, session: Session, annotator: str, batch: Batch, press: KeyPress) -> None:
        top = _top(session, annotator, batch.id)
        if top is None:
            raise UserError("There is nothing to undo.", "kind")
        item = session.get_one(ItemRow, top.item_id)
        row = session.get(AnswerRow, (item.id, annotator))
        _write(session, annotator, item, press, {}, previous=top.previous, undoes=top.number)
        self.settle(session, annotator, batch, item, row, at_s=time.time())
        again(session, annotator, item)

    def settle(
        self, session: Session, annotator: str, batch: Batch, item: ItemRow, row: AnswerRow | None, *, at_s: float
    ) -> Answer:
        """Bring the answer in `row`, and what its item holds of all answers, up to date with events until `at_s`."""
        before, after = _answer(row), _fold(session, annotator, item.id)
        row = row or AnswerRow(item_id=item.id, annotator=annotator, batch_id=batch.id)
        row.verdict, row.marks, row.note = after.verdict, after.marks, after.note
        row.issues, row.answered_s = after.issues, at_s
        session.add(row)
        session.flush()
        if after.counts != before.counts:
            counting = (AnswerRow.item_id == item.id) & AnswerRow.verdict.not_in(["", SKIPPED])
            answers = session.execute(select(AnswerRow.verdict, AnswerRow.issues).where(counting)).all()
            item.answers, item.said = len(answers), said((verdict, issues) for verdict, issues in answers)
            item.open = len(answers) < batch.overlap or item.gold is not None
            session.flush()
        return after


def _answer(row: AnswerRow | None) -> Answer:
    return Answer() if row is None else Answer(dict(row.marks), row.note, row.verdict)


def _fold(session: Session, annotator: str, item_id: int) -> Answer:
    """The annotator's answer to the item, from its events."""
    mine = (EventRow.item_id == item_id) & (EventRow.annotator == annotator)
    events = list(session.scalars(select(EventRow).where(mine).order_by(EventRow.number)))
    undone = {event.undoes for event in events}
    return add_up((event.kind, event.data) for event in events if event.kind != "undo" and event.number not in undone)


def _seen(session: Session, annotator: str, item_ids: Sequence[int]) -> set[int]:
    mine = EventRow.item_id.in_(item_ids) & (EventRow.annotator == annotator)
    events = session.execute(select(EventRow.item_id, EventRow.kind, EventRow.data).where(mine))
    return {item for item, kind, data in events if kind in JUDGING or data.get(PLAYED)}


def _batch(session: Session, batch_id: int, *, lock: bool = False) -> Batch:
    """`lock` lets one writer at a time at the batch; SQLite has one writer anyway."""
    query = select(BatchRow).where(BatchRow.id == batch_id)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise UserError(f"There is no batch {batch_id}; reload the page.", "batch")
    return Batch.model_validate(row)


def _top(session: Session, annotator: str, batch_id: int) -> EventRow | None:
    """The annotator's last effective event in the batch: what an undo would take back."""
    mine = (EventRow.batch_id == batch_id) & (EventRow.annotator == annotator)
    last = session.scalars(select(EventRow).where(mine).order_by(EventRow.number.desc()).limit(1)).one_or_none()
    if last is None or last.kind != "undo":
        return last
    return None if last.previous is None else session.get_one(EventRow, last.previous)


def _work(session: Session, annotator: str, batch_id: int) -> None:
    """Another key was pressed."""
    now_s = time.time()
    gap_s = now_s - WorkRow.pressed_s
    worked_s = case((gap_s.between(0, PAUSE_S), WorkRow.at_work_s + gap_s), else_=WorkRow.at_work_s)
    mine = (WorkRow.batch_id == batch_id) & (WorkRow.annotator == annotator)
    known = session.execute(update(WorkRow).where(mine).values(at_work_s=worked_s, pressed_s=now_s))
    if not known.rowcount:  # type: ignore[attr-defined]
        session.add(WorkRow(batch_id=batch_id, annotator=annotator, at_work_s=0.0, pressed_s=now_s))


def _write(
    session: Session,
    annotator: str,
    item: ItemRow,
    press: KeyPress,
    data: dict[str, Any],
    *,
    previous: int | None,
    undoes: int | None = None,
) -> None:
    session.add(
        EventRow(
            client_id=press.client_id,
            batch_id=item.batch_id,
            item_id=item.id,
            annotator=annotator,
            kind=press.kind,
            data=data,
            previous=previous,
            undoes=undoes,
            created_s=time.time(),
        )
    )
    session.flush()
