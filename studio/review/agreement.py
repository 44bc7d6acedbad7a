"""How far annotators agree, how fast they are, what they confuse, what is left: numbers from finished answers.

Krippendorff's alpha per issue, on whether it was marked: 1 is perfect, 0 what chance gives; NaN where nothing can be
said, because nobody marked it, or no clip has two answers. Knows nothing about pages. An annotator is only told about
items that they cannot answer any more: nobody sees another's answers before giving their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import krippendorff
import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from studio.review.database import Database
from studio.review.issues import Issue
from studio.review.labels import SKIPPED
from studio.review.rows import AnswerRow, ItemRow

PAUSE_S = 120.0
"""Whoever takes longer for a clip was away; the pace leaves that out."""
GOOD = "good"
_IS_GOLD = ItemRow.gold.is_not(None)


@dataclass(frozen=True)
class Pace:
    """One annotator: answers, skips, answers an hour while at work, right answers of the known ones."""

    annotator: str
    answers: int
    skipped: int
    per_hour: float
    gold_right: int
    gold_answered: int


@dataclass(frozen=True)
class Agreement:
    """One batch. `confusion[i, j]` counts how often one annotator said names[i] where another said names[j] instead."""

    items: int
    left: int
    left_for_reader: int
    compared: int
    alpha: dict[str, float]
    names: tuple[str, ...]
    confusion: np.ndarray
    pace: tuple[Pace, ...]


@dataclass(frozen=True)
class _Answers:
    """Finished answers as columns [n]. `said` is which of the distinct (verdict, issues) in `sayings` each one is."""

    item: np.ndarray
    annotator: np.ndarray
    said: np.ndarray
    time_s: np.ndarray
    open: np.ndarray
    gold: np.ndarray
    annotators: list[str]
    sayings: list[tuple[str, str]]

    def only(self, kept: np.ndarray) -> "_Answers":
        """The answers where `kept` [n] is true."""
        columns = {name: getattr(self, name)[kept] for name in ("item", "annotator", "said", "time_s", "open", "gold")}
        return replace(self, **columns)

    def by(self, annotator: str) -> np.ndarray:
        """[n], whether it is the annotator's."""
        code = self.annotators.index(annotator) if annotator in self.annotators else -1
        return self.annotator == code

    @property
    def skipped(self) -> np.ndarray:
        """[n], whether it is a skip."""
        return np.array([verdict == SKIPPED for verdict, _ in self.sayings], dtype=bool)[self.said]


def agreement_of(database: Database, batch_id: int, reader: str, issues: dict[str, Issue]) -> Agreement:
    """The batch as `reader` may know it: over items that they answered, or that want no more answers."""
    with database.reading() as session:
        wanted = ItemRow.open & ItemRow.gold.is_(None)
        counts = select(func.count(), func.count().filter(wanted)).where(ItemRow.batch_id == batch_id)
        items, left = session.execute(counts).one()
        known_answers = select(ItemRow.id, ItemRow.gold).where(ItemRow.batch_id == batch_id, _IS_GOLD)
        gold: dict[int, Any] = {item_id: answer for item_id, answer in session.execute(known_answers)}
        answers = _read(session, batch_id)
    known = np.isin(answers.item, answers.item[answers.by(reader)])
    mine_open = int((answers.by(reader) & answers.open & ~answers.gold).sum())
    told = answers.only(~answers.open | known)
    counted = told.only(~told.skipped)
    names = (GOOD, *issues)
    said = _table(told.sayings, names)[counted.said]
    numbers = np.unique(counted.item, return_inverse=True)[1]
    return Agreement(
        items=items,
        left=left,
        left_for_reader=left - mine_open,
        compared=int((np.bincount(numbers) > 1).sum()),
        alpha={name: _alpha(numbers, said[:, index]) for index, name in enumerate(names)},
        names=names,
        confusion=_confusion(counted.item, said),
        pace=tuple(
            _pace(name, told.only(told.by(name)), gold) for name in sorted(told.annotators) if told.by(name).any()
        ),
    )


def _read(session: Session, batch_id: int) -> _Answers:
    columns = (AnswerRow.item_id, AnswerRow.annotator, AnswerRow.verdict, AnswerRow.issues, AnswerRow.answered_s)
    finished = select(*columns).where(AnswerRow.batch_id == batch_id, AnswerRow.verdict != "")
    still_open = select(ItemRow.id, _IS_GOLD).where(ItemRow.batch_id == batch_id, ItemRow.open)
    # Past the session: there is nothing to map, and there are many rows.
    rows = session.connection().execute(finished).all()
    waiting = session.connection().execute(still_open).all()
    item, annotator, verdict, issues, time_s = zip(*rows, strict=True) if rows else [()] * 5
    items = np.array(item, dtype=np.int64)
    # Few distinct values in many rows: each becomes a number.
    annotators: dict[str, int] = {}
    sayings: dict[tuple[str, str], int] = {}
    return _Answers(
        item=items,
        annotator=np.array([annotators.setdefault(name, len(annotators)) for name in annotator], dtype=np.int64),
        said=np.array(
            [sayings.setdefault(saying, len(sayings)) for saying in zip(verdict, issues, strict=True)], dtype=np.int64
        ),
        time_s=np.array(time_s, dtype=np.float64),
        open=np.isin(items, [row[0] for row in waiting]),
        gold=np.isin(items, [row[0] for row in waiting if row[1]]),
        annotators=list(annotators),
        sayings=list(sayings),
    )


def nominal_alpha(units: np.ndarray, values: np.ndarray) -> float:
    """Krippendorff's alpha of nominal `values` [n] >= 0 given to `units` [n]; NaN where it is undefined."""
    return _alpha(np.unique(units, return_inverse=True)[1], values)


def _alpha(numbers: np.ndarray, values: np.ndarray) -> float:
    """The same where the units are numbered from 0."""
    if not len(numbers):
        return math.nan
    kinds = int(values.max()) + 1
    cells = np.bincount(numbers * kinds + values.astype(np.int64), minlength=(int(numbers.max()) + 1) * kinds)
    counts = cells.reshape(-1, kinds)
    counts = counts[counts.sum(axis=1) > 1]
    if len(counts) == 0 or (counts.sum(axis=0) > 0).sum() < 2:
        return math.nan
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _table(sayings: Sequence[tuple[str, str]], names: tuple[str, ...]) -> np.ndarray:
    """[sayings, names], whether each is said; issues that the list no longer has are left out."""
    said = [[name == GOOD == verdict or name in issues.split() for name in names] for verdict, issues in sayings]
    return np.array(said, dtype=bool).reshape(len(sayings), len(names))


def _confusion(units: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Over every two answers to one item: what one said alone against what the other did; the diagonal is agreed."""
    order = np.argsort(units, kind="stable")
    units, said = units[order], said[order].astype(np.int64)
    table = np.zeros((said.shape[1], said.shape[1]), dtype=np.int64)
    apart = 1
    while apart < len(units) and (same := units[apart:] == units[:-apart]).any():
        first, second = said[:-apart][same], said[apart:][same]
        both = first * second
        only_first, only_second = first - both, second - both
        table += only_first.T @ only_second + only_second.T @ only_first + np.diag(both.sum(axis=0))
        apart += 1
    return table


def _pace(annotator: str, answers: _Answers, gold: dict[int, dict[str, Any]]) -> Pace:
    """`answers` are the annotator's own."""
    gaps_s = np.diff(np.sort(answers.time_s))
    at_work_s = gaps_s[gaps_s <= PAUSE_S]
    tested = answers.only(answers.gold & ~answers.skipped)
    right = 0
    for item, said in zip(tested.item.tolist(), tested.said.tolist(), strict=True):
        verdict, issues = tested.sayings[said]
        right += gold[item] == {"verdict": verdict, "issues": issues.split()}
    skipped = int(answers.skipped.sum())
    per_hour = 3600.0 * len(at_work_s) / at_work_s.sum() if at_work_s.sum() > 0 else math.nan
    return Pace(annotator, len(answers.item) - skipped, skipped, float(per_hour), right, len(tested.item))
