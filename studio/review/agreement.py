"""How far annotators agree, how fast they are, what they confuse, what is left: numbers from finished answers.

Krippendorff's alpha per issue, on whether it was marked: 1 is perfect, 0 what chance gives; NaN where nothing can be
said, because nobody marked it, or no clip has two answers. Knows nothing about pages. An annotator is only told about
items that they cannot answer any more: nobody sees another's answers before giving their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import krippendorff
import numpy as np
from sqlalchemy import func, select

from studio.review.database import Database
from studio.review.issues import Issue
from studio.review.labels import SKIPPED
from studio.review.rows import AnswerRow, ItemRow

PAUSE_S = 120.0
"""Whoever takes longer for a clip was away; the pace leaves that out."""
GOOD = "good"


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


def agreement_of(database: Database, batch_id: int, reader: str, issues: dict[str, Issue]) -> Agreement:
    """The batch as `reader` may know it: over items that they answered, or that want no more answers."""
    with database.reading() as session:
        of_batch = ItemRow.batch_id == batch_id
        items, open_items = session.execute(
            select(func.count(), func.count().filter(ItemRow.open & ItemRow.gold.is_(None))).where(of_batch)
        ).one()
        columns = (
            *(AnswerRow.item_id, AnswerRow.annotator, AnswerRow.verdict, AnswerRow.issues, AnswerRow.answered_s),
            *(ItemRow.open, ItemRow.gold),
        )
        query = select(*columns).join(ItemRow, ItemRow.id == AnswerRow.item_id)
        rows = session.execute(query.where(AnswerRow.batch_id == batch_id, AnswerRow.verdict != "")).all()
    known = {row.item_id for row in rows if row.annotator == reader}
    mine_open = sum(row.annotator == reader and row.open and row.gold is None for row in rows)
    told = [row for row in rows if not row.open or row.item_id in known]
    counted = [row for row in told if row.verdict != SKIPPED]
    names = (GOOD, *issues)
    item_of = np.array([row.item_id for row in counted], dtype=np.int64)
    said = _said(counted, names)
    return Agreement(
        items=items,
        left=open_items,
        left_for_reader=open_items - mine_open,
        compared=int((np.unique(item_of, return_counts=True)[1] > 1).sum()) if len(item_of) else 0,
        alpha={name: nominal_alpha(item_of, said[:, index]) for index, name in enumerate(names)},
        names=names,
        confusion=_confusion(item_of, said),
        pace=tuple(_pace(name, [row for row in told if row.annotator == name]) for name in _annotators(told)),
    )


def nominal_alpha(units: np.ndarray, values: np.ndarray) -> float:
    """Krippendorff's alpha of nominal `values` [n] >= 0 given to `units` [n]; NaN where it is undefined."""
    if not len(units):
        return math.nan
    numbers = np.unique(units, return_inverse=True)[1]
    counts = np.zeros((numbers.max() + 1, int(values.max()) + 1))
    np.add.at(counts, (numbers, values.astype(np.int64)), 1)
    counts = counts[counts.sum(axis=1) > 1]
    if len(counts) == 0 or (counts.sum(axis=0) > 0).sum() < 2:
        return math.nan
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _annotators(rows: Sequence) -> list[str]:
    return sorted({row.annotator for row in rows})


def _said(rows: Sequence, names: tuple[str, ...]) -> np.ndarray:
    """[answers, names], whether each was said; issues that the list no longer has are left out."""
    index = {name: number for number, name in enumerate(names)}
    said = np.zeros((len(rows), len(names)), dtype=bool)
    for number, row in enumerate(rows):
        if row.verdict == GOOD:
            said[number, 0] = True
        for issue in row.issues.split():
            if issue in index:
                said[number, index[issue]] = True
    return said


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


def _pace(annotator: str, rows: Sequence) -> Pace:
    times_s = np.sort([row.answered_s for row in rows])
    gaps_s = np.diff(times_s)
    at_work_s = gaps_s[gaps_s <= PAUSE_S]
    gold = [row for row in rows if row.gold is not None and row.verdict != SKIPPED]
    right = [row for row in gold if row.gold == {"verdict": row.verdict, "issues": row.issues.split()}]
    skipped = sum(row.verdict == SKIPPED for row in rows)
    per_hour = 3600.0 * len(at_work_s) / at_work_s.sum() if at_work_s.sum() > 0 else math.nan
    return Pace(annotator, len(rows) - skipped, skipped, float(per_hour), len(right), len(gold))
