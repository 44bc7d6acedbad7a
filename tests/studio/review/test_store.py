"""Key presses: kept once, undone one after the other, and never more than what they add up to."""

import random

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, select

from engine.contract.errors import UserError
from studio.review.database import Database, migrate
from studio.review.labels import add_up, said
from studio.review.queue import upcoming
from studio.review.rows import AnswerRow, Base, EventRow, ItemRow
from studio.review.store import ReviewStore, _fold
from tests.studio.review.small_clips import key, small_clip


def items_of(reviews: ReviewStore, batch_id: int) -> list[ItemRow]:
    with reviews.database.reading() as session:
        query = select(ItemRow).where(ItemRow.batch_id == batch_id).order_by(ItemRow.place)
        items = list(session.scalars(query))
        session.expunge_all()
        return items


def count(reviews: ReviewStore, table: type[Base]) -> int:
    with reviews.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_key_that_is_sent_twice_is_kept_once(reviews, filled):
    batch = filled(1)
    (item,) = upcoming(reviews.database, "ada", batch)
    press = key(item.id, "mark", issue="jitter")
    assert reviews.press("ada", batch, press) is True
    assert reviews.press("ada", batch, press) is False
    assert count(reviews, EventRow) == 1


def test_marks_and_an_end_make_an_answer(reviews, filled):
    batch = filled(1)
    (item,) = upcoming(reviews.database, "ada", batch)
    mark = {"severity": 3, "span_s": [0.2, 0.6], "region": [0.1, 0.2, 0.3, 0.4]}
    reviews.press("ada", batch, key(item.id, "mark", issue="jitter", mark=mark))
    reviews.press("ada", batch, key(item.id, "note", text="twice"))
    reviews.press("ada", batch, key(item.id, "bad"))
    answer = reviews.answer("ada", item.id)
    assert (answer.verdict, answer.note, answer.marks) == ("bad", "twice", {"jitter": mark})


def test_undo_goes_back_key_by_key_to_the_first_clip(reviews, filled):
    batch = filled(3)
    shown = []
    for _ in range(3):
        item = upcoming(reviews.database, "ada", batch)[0]
        shown.append(item.id)
        reviews.press("ada", batch, key(item.id, "mark", issue="blur"))
        reviews.press("ada", batch, key(item.id, "bad"))
    assert not upcoming(reviews.database, "ada", batch)
    for item_id in reversed(shown):
        reviews.press("ada", batch, key(item_id, "undo"))
        assert upcoming(reviews.database, "ada", batch)[0].id == item_id
        assert reviews.answer("ada", item_id).marks
        reviews.press("ada", batch, key(item_id, "undo"))
        assert not reviews.answer("ada", item_id).marks
    with pytest.raises(UserError, match="nothing to undo"):
        reviews.press("ada", batch, key(shown[0], "undo"))
    assert count(reviews, EventRow) == 12
    assert all(item.open and item.answers == 0 for item in items_of(reviews, batch))


def test_after_an_undo_new_keys_are_undone_first(reviews, filled):
    batch = filled(1)
    (item,) = upcoming(reviews.database, "ada", batch)
    for kind, issue in [("mark", "blur"), ("mark", "hands"), ("undo", None), ("mark", "jitter"), ("undo", None)]:
        reviews.press("ada", batch, key(item.id, kind, issue=issue))
    assert list(reviews.answer("ada", item.id).marks) == ["blur"]
    reviews.press("ada", batch, key(item.id, "undo"))
    assert not reviews.answer("ada", item.id).marks


@pytest.mark.parametrize(
    ("presses", "words"),
    [
        ([("good", {"played": False})], "Play it"),
        ([("bad", {})], "what is wrong"),
        ([("mark", {"issue": "blur"}), ("good", {})], "not good"),
        ([("mark", {"issue": "ugly"})], "Unknown issue"),
        ([("good", {}), ("mark", {"issue": "blur"})], "finished already"),
        ([("prefer", {"choice": "left"})], "not for a clip"),
    ],
)
def test_keys_that_make_no_sense_are_refused(reviews, filled, presses, words):
    batch = filled(1)
    (item,) = upcoming(reviews.database, "ada", batch)
    *before, (kind, values) = presses
    for earlier, given in before:
        reviews.press("ada", batch, key(item.id, earlier, **given))
    with pytest.raises(UserError, match=words):
        reviews.press("ada", batch, key(item.id, kind, **values))
    assert count(reviews, EventRow) == len(before)


def test_answers_and_counts_are_what_the_events_add_up_to(reviews, filled):
    """The law that lets the fast tables be trusted: any keys, by anybody, in any order."""
    batch = filled(6, overlap=2)
    chance = random.Random(5)
    kinds = ["mark", "mark", "unmark", "note", "good", "bad", "skip", "undo", "undo"]
    for _ in range(150):
        annotator = chance.choice(["ada", "ben", "cem"])
        items = upcoming(reviews.database, annotator, batch)
        item_id = items[0].id if items else chance.choice(items_of(reviews, batch)).id
        press = key(item_id, chance.choice(kinds), issue=chance.choice(list(reviews.issues)), text="so")
        try:
            reviews.press(annotator, batch, press)
        except UserError:
            continue
    with reviews.database.reading() as session:
        answers = list(session.scalars(select(AnswerRow)))
        for answer in answers:
            folded = _fold(session, answer.annotator, answer.item_id)
            assert (folded.verdict, folded.marks, folded.note) == (answer.verdict, answer.marks, answer.note)
            assert answer.issues.split() == sorted(folded.marks)
        for item in session.scalars(select(ItemRow)):
            given = [answer for answer in answers if answer.item_id == item.id and answer.verdict not in ("", "skip")]
            assert item.answers == len(given)
            assert item.said == said((answer.verdict, answer.issues) for answer in given)
            assert item.open == (len(given) < 2)
    assert len(answers) > 6


def test_a_pairs_side_is_the_same_whichever_side_it_was_shown_on(reviews):
    first, second = small_clip(1, "a" * 64), small_clip(1, "b" * 64)
    reviews.keep_clip(first)
    reviews.keep_clip(second)
    batch = reviews.add_batch("Before or after", "lead", kind="pairs", overlap=9, sides=("before", "after"))
    reviews.add_items(batch.id, [(first.id, second.id)])
    from studio.review.labels import is_swapped

    (item,) = items_of(reviews, batch.id)
    seen = set()
    for annotator in "abcdefgh":
        swapped = is_swapped(item.id, annotator)
        seen.add(swapped)
        reviews.press(annotator, batch.id, key(item.id, "prefer", choice="right" if swapped else "left"))
        assert reviews.answer(annotator, item.id).verdict == "a"
    assert seen == {True, False}


def test_the_migrations_make_the_tables_that_the_code_uses(url):
    Database(url).close()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_labels_are_there_when_the_store_is_opened_again(url):
    from studio.review.issues import read_issues

    database = Database(url)
    store = ReviewStore(database, read_issues())
    store.keep_clip(small_clip(0))
    batch = store.add_batch("Kept", "lead")
    store.add_items(batch.id, [(small_clip(0).id, None)])
    (item,) = upcoming(database, "ada", batch.id)
    store.press("ada", batch.id, key(item.id, "good"))
    database.close()
    database = Database(url)
    assert ReviewStore(database, read_issues()).answer("ada", item.id).verdict == "good"
    database.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "sqlite:////no/such/folder/review.sqlite"])
def test_a_database_that_cannot_be_used_is_said(url):
    with pytest.raises(UserError):
        Database(url)


def test_no_keys_make_an_empty_answer():
    assert not add_up([]).finished
