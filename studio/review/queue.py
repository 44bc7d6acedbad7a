"""Who gets which item next: in the batch's random order, to as many annotators as it wants, each at most once.

An item is handed out for a while (a lease), so that two annotators do not both give the one answer that is missing, and
the page can fetch the next clip ahead. An annotator goes along the order with a cursor and never looks back, so that
the next item costs the same at the start and at the end of a hundred thousand; what others let go of behind the cursor
is found by its leases. Knows nothing about what is answered, only whether.
"""

import time

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session, aliased

from studio.review.database import Database
from studio.review.rows import AnswerRow, BatchRow, CursorRow, ItemRow, LeaseRow

LEASE_S = 600.0
AHEAD = 2
"""How many items a page has at a time: the one that is shown and the one that is loaded."""


def upcoming(database: Database, annotator: str, batch_id: int, count: int = AHEAD) -> list[ItemRow]:
    """The annotator's next `count` items, the first one first: those they hold, then new ones. Fewer at the end."""
    with database.writing() as session:
        batch = session.scalars(select(BatchRow).where(BatchRow.id == batch_id).with_for_update()).one()
        now_s = time.time()
        items = _held(session, annotator, batch)[:count]
        for find in (_returned, _further):
            if len(items) < count:
                items += find(session, annotator, batch, count - len(items), now_s)
        for index, item in enumerate(items):
            lease = session.get(LeaseRow, (item.id, annotator))
            if lease is None:
                rank = now_s + index * 1e-3
                lease = LeaseRow(item_id=item.id, annotator=annotator, batch_id=batch_id, rank=rank)
                session.add(lease)
            lease.until_s = now_s + LEASE_S
        return items


def let_go(session: Session, annotator: str, item_id: int, *, skipped: bool) -> None:
    """The annotator is through with the item. Behind a skip the lease stays, so that others come back for it."""
    lease = session.get(LeaseRow, (item_id, annotator))
    if lease is None:
        return
    if skipped:
        lease.until_s = 0.0
    else:
        session.delete(lease)


def again(session: Session, annotator: str, item: ItemRow) -> None:
    """An undo brings the item back to the annotator, before everything else."""
    lease = session.get(LeaseRow, (item.id, annotator)) or LeaseRow(
        item_id=item.id, annotator=annotator, batch_id=item.batch_id
    )
    now_s = time.time()
    lease.rank, lease.until_s = -now_s, now_s + LEASE_S
    session.add(lease)


def _held(session: Session, annotator: str, batch: BatchRow) -> list[ItemRow]:
    """What the annotator has in hand. What has closed meanwhile is let go, but for what an undo brought back."""
    mine = (LeaseRow.batch_id == batch.id) & (LeaseRow.annotator == annotator) & (LeaseRow.until_s > 0)
    query = select(ItemRow).join(LeaseRow, LeaseRow.item_id == ItemRow.id)
    held = query.where(mine, ItemRow.open | (LeaseRow.rank < 0), ~_answered_by(annotator))
    return list(session.scalars(held.order_by(LeaseRow.rank)))


def _returned(session: Session, annotator: str, batch: BatchRow, count: int, now_s: float) -> list[ItemRow]:
    """Items that another annotator had and let go of."""
    gone = (LeaseRow.batch_id == batch.id) & (LeaseRow.annotator != annotator) & (LeaseRow.until_s < now_s)
    query = (
        select(ItemRow)
        .where(ItemRow.id.in_(select(LeaseRow.item_id).where(gone)), ItemRow.open)
        .where(*_for_me(annotator, batch, now_s))
        .order_by(ItemRow.place)
        .limit(count)
    )
    return list(session.scalars(query))


def _further(session: Session, annotator: str, batch: BatchRow, count: int, now_s: float) -> list[ItemRow]:
    """Items beyond the annotator's cursor, which moves along."""
    cursor = session.get(CursorRow, (batch.id, annotator)) or CursorRow(
        batch_id=batch.id, annotator=annotator, place=-1.0
    )
    query = (
        select(ItemRow)
        .where(ItemRow.batch_id == batch.id, ItemRow.open, ItemRow.place > cursor.place)
        .where(*_for_me(annotator, batch, now_s))
        .order_by(ItemRow.place)
        .limit(count)
    )
    items = list(session.scalars(query))
    if items:
        cursor.place = items[-1].place
        session.add(cursor)
    return items


def _for_me(annotator: str, batch: BatchRow, now_s: float) -> tuple[ColumnElement[bool], ...]:
    """Not answered or held by the annotator, and wanted beyond what others hold."""
    held = aliased(LeaseRow)
    mine = exists().where(held.item_id == ItemRow.id, held.annotator == annotator).correlate(ItemRow)
    others = aliased(LeaseRow)
    in_hand = (
        select(func.count())
        .where(others.item_id == ItemRow.id, others.annotator != annotator, others.until_s >= now_s)
        .correlate(ItemRow)
        .scalar_subquery()
    )
    wanted = (ItemRow.answers + in_hand < batch.overlap) | ItemRow.gold.is_not(None)
    return ~_answered_by(annotator), ~mine, wanted


def _answered_by(annotator: str) -> ColumnElement[bool]:
    answer = aliased(AnswerRow)
    finished = (answer.item_id == ItemRow.id) & (answer.annotator == annotator) & (answer.verdict != "")
    return exists().where(finished).correlate(ItemRow)
