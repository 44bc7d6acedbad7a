"""What a reader may be told of a batch, added up by the database: from items that they cannot answer any more.

Those are the items that are closed, and those that the reader has finished. Items carry what was said of them
(`ItemRow.said`), so that a hundred thousand of them are a few thousand different sayings with their counts, and no
answer is read that is not about a gold item. Knows nothing about what the numbers mean.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, ColumnExpressionArgument, Select, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from studio.review.labels import SAYINGS_APART
from studio.review.rows import AnswerRow, ItemRow, WorkRow

IS_GOLD = ItemRow.gold.is_not(None)
_Columns = TypeVarTuple("_Columns")


@dataclass(frozen=True)
class Work:
    """One annotator: verdicts that may be told; clips finished in all, and the hours that they took."""

    verdicts: Counter[str]
    clips: int
    hours: float


def sayings(session: Session, batch_id: int, reader: str) -> dict[tuple[str, ...], int]:
    """How many items there are of which exactly this was said; skips say nothing."""
    closed = select(ItemRow.said, func.count()).where(ItemRow.batch_id == batch_id, ~ItemRow.open)
    known = _open_items(select(ItemRow.said, func.count()), batch_id).where(finished_by(reader))
    told: Counter[tuple[str, ...]] = Counter()
    for query in (closed, known):
        for said, count in session.execute(query.group_by(ItemRow.said)):
            if said:
                told[tuple(said.split(SAYINGS_APART))] += count
    return dict(told)


def work(session: Session, batch_id: int, reader: str) -> dict[str, Work]:
    """What each annotator did, where the reader may know of any of it."""
    kind = (AnswerRow.annotator, AnswerRow.verdict)
    finished = select(*kind, func.count()).where(AnswerRow.batch_id == batch_id, AnswerRow.verdict != "")
    secret = _open_items(select(*kind, func.count()), batch_id).join(AnswerRow, AnswerRow.item_id == ItemRow.id)
    secret = secret.where(AnswerRow.verdict != "", ~finished_by(reader))
    hours = select(WorkRow.annotator, WorkRow.at_work_s / 3600).where(WorkRow.batch_id == batch_id)
    told: dict[str, Counter[str]] = {}
    for annotator, verdict, count in session.execute(finished.group_by(*kind)):
        told.setdefault(annotator, Counter())[verdict] = count
    clips = {annotator: counts.total() for annotator, counts in told.items()}
    for annotator, verdict, count in session.execute(secret.group_by(*kind)):
        told[annotator][verdict] -= count
    at_work = {annotator: each for annotator, each in session.execute(hours)}
    return {
        annotator: Work(counts, clips[annotator], at_work[annotator])
        for annotator, counts in sorted(told.items())
        if counts.total()
    }


def gold_answers(session: Session, batch_id: int, reader: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    """(annotator, verdict, issues, right answer) for every answer to a gold item that the reader has finished."""
    columns = (AnswerRow.annotator, AnswerRow.verdict, AnswerRow.issues, ItemRow.gold)
    query = select(*columns).join(AnswerRow, AnswerRow.item_id == ItemRow.id)
    query = query.where(ItemRow.batch_id == batch_id, IS_GOLD, AnswerRow.verdict != "", finished_by(reader))
    return [tuple(row) for row in session.execute(query)]


def progress(session: Session, batch_id: int, reader: str) -> tuple[int, int, int]:
    """(items, those that want answers, those of them that want the reader's); gold items are wanted by nobody."""

    def count(*where: ColumnExpressionArgument[bool]) -> int:
        return (
            session.scalar(select(func.count()).select_from(ItemRow).where(ItemRow.batch_id == batch_id, *where)) or 0
        )

    # Gold items are always open: what is left is counted without looking at each.
    left = count(ItemRow.open) - count(IS_GOLD)
    return count(), left, left - (count(ItemRow.open, finished_by(reader)) - count(IS_GOLD, finished_by(reader)))


def _open_items(query: Select[*_Columns], batch_id: int) -> Select[*_Columns]:
    return query.select_from(ItemRow).where(ItemRow.batch_id == batch_id, ItemRow.open)


def finished_by(reader: str) -> ColumnElement[bool]:
    """The item is one that `reader` has finished, by an answer or a skip."""
    answer = aliased(AnswerRow)
    theirs = and_(answer.item_id == ItemRow.id, answer.annotator == reader, answer.verdict != "")
    return exists().where(theirs).correlate(ItemRow)
