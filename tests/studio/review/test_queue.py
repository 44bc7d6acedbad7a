"""Whose turn it is: everybody gets everything that is wanted of them, once, in random order, and nothing gets stuck."""

import pytest

from studio.review import queue
from studio.review.queue import upcoming
from tests.studio.review.small_clips import key
from tests.studio.review.test_store import items_of


def finish(reviews, annotator, batch, kind="good"):
    """Answer the annotator's next item; its id, or None at the end."""
    items = upcoming(reviews.database, annotator, batch)
    if not items:
        return None
    reviews.press(annotator, batch, key(items[0].id, kind))
    return items[0].id


def test_every_clip_gets_its_overlap_of_different_annotators(reviews, filled):
    batch = filled(7, overlap=2)
    given = {name: [] for name in ("ada", "ben", "cem")}
    going = list(given)
    while going:
        for name in list(going):
            item_id = finish(reviews, name, batch)
            if item_id is None:
                going.remove(name)
            else:
                given[name].append(item_id)
    everything = [item_id for items in given.values() for item_id in items]
    assert all(everything.count(item.id) == 2 for item in items_of(reviews, batch))
    assert all(len(set(items)) == len(items) for items in given.values())


def test_the_order_is_not_that_of_the_import(reviews, filled):
    batch = filled(30)
    order = []
    while (item_id := finish(reviews, "ada", batch)) is not None:
        order.append(item_id)
    assert sorted(order) != order


def test_a_reload_shows_the_same_clip_and_the_one_after(reviews, filled):
    batch = filled(5)
    first = [item.id for item in upcoming(reviews.database, "ada", batch)]
    assert [item.id for item in upcoming(reviews.database, "ada", batch)] == first
    assert len(first) == 2
    reviews.press("ada", batch, key(first[0], "good"))
    assert upcoming(reviews.database, "ada", batch)[0].id == first[1]


def test_two_annotators_do_not_hold_the_same_last_answer(reviews, filled):
    batch = filled(6)
    held = [item.id for name in ("ada", "ben", "cem") for item in upcoming(reviews.database, name, batch)]
    assert len(set(held)) == 6
    assert not upcoming(reviews.database, "dan", batch)


def test_what_was_skipped_or_left_lying_comes_to_the_others(reviews, filled, monkeypatch: pytest.MonkeyPatch):
    batch = filled(3)
    monkeypatch.setattr(queue, "LEASE_S", -1.0)
    skipped = finish(reviews, "ada", batch, "skip")
    left = upcoming(reviews.database, "ada", batch)
    monkeypatch.undo()
    assert finish(reviews, "ben", batch) in {skipped, *(item.id for item in left)}
    assert len(upcoming(reviews.database, "ben", batch)) == 2


def test_what_an_undo_opens_behind_everybody_is_found_again(reviews, filled, monkeypatch: pytest.MonkeyPatch):
    batch = filled(4)
    ada = [finish(reviews, "ada", batch), finish(reviews, "ada", batch)]
    while finish(reviews, "ben", batch) is not None:
        pass
    monkeypatch.setattr(queue, "LEASE_S", -1.0)
    for _ in ada:
        reviews.press("ada", batch, key(ada[0], "undo"))
    monkeypatch.undo()
    assert {item.id for item in upcoming(reviews.database, "ben", batch, 4)} == set(ada)


def test_gold_goes_to_everybody(reviews, filled):
    batch = filled(2, gold=[{"verdict": "bad", "issues": ["blur"]}, None])
    gold = next(item.id for item in items_of(reviews, batch) if item.gold)
    for name in ("ada", "ben", "cem", "dan"):
        answered = []
        while (item_id := finish(reviews, name, batch)) is not None:
            answered.append(item_id)
        assert gold in answered


def test_clips_that_come_later_are_asked_later(reviews, filled):
    from tests.studio.review.small_clips import small_clip

    batch = filled(2)
    while finish(reviews, "ada", batch) is not None:
        pass
    reviews.keep_clip(small_clip(99))
    reviews.add_items(batch, [(small_clip(99).id, None)])
    assert upcoming(reviews.database, "ada", batch)[0].clip_id == small_clip(99).id
