"""Who gets which item next: in the batch's random order, to as many annotators as it wants, each at most once.

An item is handed out for a while (a lease), so that two annotators do not both give the one answer that is missing, and
the page can fetch the next clip ahead. An annotator goes along the order with a cursor and never looks back, so that
the next item costs the same at the start and at the end of a hundred thousand; what others let go of behind the cursor
is found by its leases. Knows nothing about what is answered, only whether.
"""

import time
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, exists, func, select, update
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
        asked = {"batch": batch_id, "annotator": annotator, "now": now_s, "overlap": batch.overlap}
        held = list(session.execute(_HELD, asked | {"count": count}))
        for _, lease in held:
            # Not every time: a lease that has long to go need not be written again.
            if lease.until_s < now_s + LEASE_S / 2:
                lease.until_s = now_s + LEASE_S
        items = [item for item, _ in held]
        for find in (_returned, _further):
            if len(items) < count:
                items += _lease(session, find(session, asked, count - len(items)), asked)
        return items


def _lease(session: Session, items: list[ItemRow], asked: dict[str, Any]) -> list[ItemRow]:
    for index, item in enumerate(items):
        until_s, rank = asked["now"] + LEASE_S, asked["now"] + index * 1e-3
        lease = LeaseRow(item_id=item.id, annotator=asked["annotator"], batch_id=item.batch_id)
        lease.until_s, lease.rank = until_s, rank
        session.add(lease)
    session.flush()
    return items


def let_go(session: Session, annotator: str, item: ItemRow, *, skipped: bool) -> None:
    """The annotator is through with the item. Behind a skip the lease stays, so that others come back for it.

    An item that has closed is held by nobody but who brought it back by an undo; a gold one goes to everybody anyway.
    """
    mine = (LeaseRow.item_id == item.id) & (LeaseRow.annotator == annotator)
    if skipped and item.open and item.gold is None:
        session.execute(update(LeaseRow).where(mine).values(until_s=0.0))
    else:
        others = (LeaseRow.item_id == item.id) & (LeaseRow.rank >= 0)
        session.execute(delete(LeaseRow).where(mine if item.open else mine | others))


def again(session: Session, annotator: str, item: ItemRow) -> None:
    """An undo brings the item back to the annotator, before everything else."""
    lease = session.get(LeaseRow, (item.id, annotator)) or LeaseRow(
        item_id=item.id, annotator=annotator, batch_id=item.batch_id
    )
    now_s = time.time()
    lease.rank, lease.until_s = -now_s, now_s + LEASE_S
    session.add(lease)


def _returned(session: Session, asked: dict[str, Any], count: int) -> list[ItemRow]:
    """Items that another annotator had and let go of."""
    return list(session.scalars(_RETURNED, asked | {"count": count}))


def _further(session: Session, asked: dict[str, Any], count: int) -> list[ItemRow]:
    """Items beyond the annotator's cursor, which moves along."""
    key = (asked["batch"], asked["annotator"])
    cursor = session.get(CursorRow, key) or CursorRow(batch_id=key[0], annotator=key[1], place=-1.0)
    items = list(session.scalars(_FURTHER, asked | {"place": cursor.place, "count": count}))
    if items:
        cursor.place = items[-1].place
        session.add(cursor)
    return items


def _answered() -> ColumnElement[bool]:
    """Finished by the annotator."""
    answer = aliased(AnswerRow)
    finished = (answer.item_id == ItemRow.id) & (answer.annotator == bindparam("annotator")) & (answer.verdict != "")
    return exists().where(finished).correlate(ItemRow)


def _for_me() -> tuple[ColumnElement[bool], ...]:
    """Not answered or held by the annotator, and wanted beyond what others hold."""
    held, others = aliased(LeaseRow), aliased(LeaseRow)
    mine = exists().where(held.item_id == ItemRow.id, held.annotator == bindparam("annotator")).correlate(ItemRow)
    elsewhere = (others.item_id == ItemRow.id) & (others.annotator != bindparam("annotator"))
    in_hand = select(func.count()).where(elsewhere, others.until_s >= bindparam("now")).correlate(ItemRow)
    wanted = (ItemRow.answers + in_hand.scalar_subquery() < bindparam("overlap")) | ItemRow.gold.is_not(None)
    return ~_answered(), ~mine, wanted


# Made once: putting such queries together takes longer than the database does.
_MINE = (LeaseRow.batch_id == bindparam("batch")) & (LeaseRow.annotator == bindparam("annotator"))
_HELD = (
    select(ItemRow, LeaseRow)
    .join(LeaseRow, LeaseRow.item_id == ItemRow.id)
    # What has closed meanwhile is no longer wanted, but for what an undo brought back.
    .where(_MINE, LeaseRow.until_s > 0, ItemRow.open | (LeaseRow.rank < 0), ~_answered())
    .order_by(LeaseRow.rank)
    .limit(bindparam("count"))
)
_GONE = select(LeaseRow.item_id).where(
    LeaseRow.batch_id == bindparam("batch"),
    LeaseRow.annotator != bindparam("annotator"),
    LeaseRow.until_s < bindparam("now"),
)
_RETURNED = (
    select(ItemRow)
    .where(ItemRow.id.in_(_GONE), ItemRow.open, *_for_me())
    .order_by(ItemRow.place)
    .limit(bindparam("count"))
)
_FURTHER = (
    select(ItemRow)
    .where(ItemRow.batch_id == bindparam("batch"), ItemRow.open, ItemRow.place > bindparam("place"), *_for_me())
    .order_by(ItemRow.place)
    .limit(bindparam("count"))
)
