"""Agreement on answers whose alpha is known, and that nobody is told what they have not answered yet."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from sqlalchemy import select

from goals.review.fill import fill
from studio.review.agreement import agreement_of
from studio.review.preferences import preferences_of
from studio.review.rows import AnswerRow, ItemRow
from tests.studio.review.alpha_by_pairs import alpha_by_pairs
from tests.studio.review.small_clips import key, small_clip
from tests.studio.review.test_store import items_of


def say(reviews, batch, annotator, answers):
    """Answer the batch's items in order: a list of issue ids each, none is good, None is not answered."""
    for item, issues in zip(items_of(reviews, batch), answers, strict=True):
        if issues is None:
            continue
        for issue in issues:
            reviews.press(annotator, batch, key(item.id, "mark", issue=issue))
        reviews.press(annotator, batch, key(item.id, "bad" if issues else "good"))


def found(reviews, batch, reader="ada"):
    return agreement_of(reviews.database, batch, reader, reviews.issues)


def test_alpha_is_krippendorffs_over_who_marked_what(reviews, filled):
    batch = filled(6, overlap=2)
    ada = [["blur"], ["blur"], [], ["hands"], ["blur", "hands"], []]
    ben = [["blur"], [], [], ["hands"], ["blur"], ["jitter"]]
    say(reviews, batch, "ada", ada)
    say(reviews, batch, "ben", ben)
    agreement = found(reviews, batch)
    for issue in ("blur", "hands", "jitter"):
        marked = [[issue in answer for answer in who] for who in (ada, ben)]
        assert agreement.alpha[issue] == pytest.approx(alpha_by_pairs(list(zip(*marked, strict=True))))
    assert math.isnan(agreement.alpha["identity"])
    assert (agreement.items, agreement.left, agreement.compared) == (6, 0, 6)


def test_the_numbers_are_those_of_reading_every_answer(reviews):
    batch = fill(reviews, 150)
    names = ("good", *reviews.issues)
    for reader in ("ada", "stranger"):
        with reviews.database.reading() as session:
            items = {item.id: item for item in session.scalars(select(ItemRow))}
            answers = list(session.scalars(select(AnswerRow)))
        mine = {answer.item_id for answer in answers if answer.annotator == reader}
        told = [each for each in answers if not items[each.item_id].open or each.item_id in mine]
        said = [(each.item_id, {*each.issues.split(), each.verdict}) for each in told if each.verdict != "skip"]
        found = agreement_of(reviews.database, batch, reader, reviews.issues)
        for name in names:
            units = [[name in words for same, words in said if same == item] for item in items]
            assert found.alpha[name] == pytest.approx(alpha_by_pairs(units))
        confusion = np.zeros((len(names), len(names)))
        for (item, one), (same, other) in itertools.permutations(said, 2):
            if item == same:
                confusion += np.outer([name in one - other for name in names], [name in other - one for name in names])
                confusion += np.diag([name in one & other for name in names]) / 2
        assert (found.confusion == confusion).all()
        gold = {item.id for item in items.values() if item.gold}
        open_ones = {item.id for item in items.values() if item.open} - gold
        assert (found.items, found.left, found.left_for_reader) == (150, len(open_ones), len(open_ones - mine))
        gold_items = [each.item_id in gold for each in told]
        kinds = [(each.annotator, each.verdict == "skip", known) for each, known in zip(told, gold_items, strict=True)]
        for pace in found.pace:
            mine_of = Counter(kind for kind in kinds if kind[0] == pace.annotator)
            skipped = sum(count for (_, skip, _), count in mine_of.items() if skip)
            assert (pace.answers, pace.skipped) == (mine_of.total() - skipped, skipped)
            assert pace.gold_answered == mine_of[pace.annotator, False, True]
        assert {pace.annotator for pace in found.pace} == {annotator for annotator, *_ in kinds}


def test_pauses_are_no_work(reviews, filled, monkeypatch: pytest.MonkeyPatch):
    batch, now_s = filled(4), 1_700_000_000.0
    for item, gap_s in zip(items_of(reviews, batch), (0.0, 9.0, 3600.0, 9.0), strict=True):
        now_s += gap_s
        monkeypatch.setattr("studio.review.store.time.time", lambda: now_s)  # noqa: B023 - read at once
        reviews.press("ada", batch, key(item.id, "good"))
    (pace,) = found(reviews, batch).pace
    assert pace.per_hour == pytest.approx(4 * 3600 / 18)


def test_what_one_said_and_the_other_did_not_is_counted_both_ways(reviews, filled):
    batch = filled(3, overlap=2)
    say(reviews, batch, "ada", [["blur"], ["blur"], []])
    say(reviews, batch, "ben", [["hands"], ["blur"], ["hands"]])
    agreement = found(reviews, batch)
    at = {name: index for index, name in enumerate(agreement.names)}
    table = agreement.confusion
    assert table[at["blur"], at["hands"]] == table[at["hands"], at["blur"]] == 1
    assert table[at["good"], at["hands"]] == 1
    assert table[at["blur"], at["blur"]] == 1
    assert table.sum() == 5


def test_nobody_is_told_about_clips_that_they_can_still_answer(reviews, filled):
    batch = filled(4, overlap=2)
    say(reviews, batch, "ben", [["blur"]] * 4)
    told = found(reviews, batch, "ada")
    assert told.pace == () and told.confusion.sum() == 0
    say(reviews, batch, "ada", [["blur"], None, None, None])
    told = found(reviews, batch, "ada")
    assert [pace.answers for pace in told.pace] == [1, 1]
    assert told.left_for_reader == 3
    say(reviews, batch, "cem", [None, ["blur"], None, None])
    assert [pace.answers for pace in found(reviews, batch, "ada").pace] == [1, 2, 1]


def test_answers_to_known_clips_are_checked(reviews, filled):
    gold = [{"verdict": "bad", "issues": ["blur"]}, {"verdict": "good", "issues": []}]
    batch = filled(2, gold=gold)
    right = [["blur"] if item.gold["verdict"] == "bad" else [] for item in items_of(reviews, batch)]
    say(reviews, batch, "ada", right)
    say(reviews, batch, "ben", [["hands"], ["hands"]])
    by_name = {name: found(reviews, batch, name).pace for name in ("ada", "ben")}
    assert next((pace.gold_right, pace.gold_answered) for pace in by_name["ada"] if pace.annotator == "ada") == (2, 2)
    assert next((pace.gold_right, pace.gold_answered) for pace in by_name["ben"] if pace.annotator == "ben") == (0, 2)


def test_preferences_are_counted_by_side(reviews):
    batch = reviews.add_batch("Pairs", "lead", "pairs", 1, sides=("before", "after")).id
    for number in range(10):
        pair = small_clip(number, "a" * 64), small_clip(number, "b" * 64)
        for clip in pair:
            reviews.keep_clip(clip)
        reviews.add_items(batch, [(pair[0].id, pair[1].id)])
    from studio.review.labels import is_swapped

    for number, item in enumerate(items_of(reviews, batch)):
        after = "left" if is_swapped(item.id, "ada") else "right"
        before = "right" if after == "left" else "left"
        choice = "tie" if number == 0 else before if number == 1 else after
        reviews.press("ada", batch, key(item.id, "prefer", choice=choice))
    report = preferences_of(reviews.database, batch, "ada")
    assert report.counts == {"a": 1, "b": 8, "tie": 1}
    assert report.share_b == pytest.approx(8 / 9)
    assert report.interval[0] < 8 / 9 < report.interval[1]
    assert report.sign_test_p == pytest.approx(2 * 10 / 2**9)
    assert preferences_of(reviews.database, batch, "ben").pairs == 10
