"""What the proof fills its store with is what the store itself would have made of those key presses."""

import pytest
from alembic import command
from sqlalchemy import select

from goals.review.fill import ANNOTATORS, OVERLAP, fill
from studio.review.database import migrate, migration_config
from studio.review.labels import SKIPPED, said
from studio.review.rows import AnswerRow, ItemRow, WorkRow
from studio.review.store import _fold, _top

CLIPS = 300


def test_the_proofs_rows_are_what_its_events_add_up_to(reviews):
    batch = fill(reviews, CLIPS)
    with reviews.database.reading() as session:
        answers = list(session.scalars(select(AnswerRow)))
        for row in answers:
            answer = _fold(session, row.annotator, row.item_id)
            assert (row.verdict, row.marks, row.note, row.issues) == (
                answer.verdict,
                answer.marks,
                answer.note,
                answer.issues,
            )
        for item in session.scalars(select(ItemRow)):
            counting = [row for row in answers if row.item_id == item.id and row.verdict != SKIPPED]
            assert (item.answers, item.said) == (len(counting), said((row.verdict, row.issues) for row in counting))
            assert item.open == (item.gold is not None or len(counting) < OVERLAP)
        assert all(_top(session, name, batch) is not None for name in ANNOTATORS)
    assert {row.verdict for row in answers} == {"good", "bad", SKIPPED}


def test_older_labels_get_what_the_store_keeps_since(reviews):
    fill(reviews, CLIPS)

    def kept() -> tuple[list[tuple], dict[str, float]]:
        with reviews.database.reading() as session:
            said = [tuple(row) for row in session.execute(select(ItemRow.id, ItemRow.said).order_by(ItemRow.id))]
            return said, dict(tuple(row) for row in session.execute(select(WorkRow.annotator, WorkRow.at_work_s)))

    said_before, work_before = kept()
    with reviews.database.writing() as session:
        command.downgrade(migration_config(session.connection()), "0001")
        migrate(session.connection())
    said_after, work_after = kept()
    assert said_after == said_before
    assert work_after == pytest.approx(work_before)
