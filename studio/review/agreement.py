"""How far annotators agree, how fast they are, what they confuse, what is left: numbers from finished answers.

Krippendorff's alpha per issue, on whether it was marked: 1 is perfect, 0 what chance gives; NaN where nothing can be
said, because nobody marked it, or no clip has two answers. Knows nothing about pages, or about who may know what
(`told`).
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.review import told
from studio.review.alpha import nominal_alpha
from studio.review.database import Database
from studio.review.issues import Issue
from studio.review.labels import SKIPPED
from studio.review.progress import per_hour

GOOD = "good"


@dataclass(frozen=True)
class Pace:
    """One annotator: answers, skips, clips an hour while at work, right answers of the known ones.

    The pace is over the whole batch; the rest is of what the reader may know.
    """

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
    """The batch as `reader` may know it."""
    with database.reading() as session:
        items, left, left_for_reader = told.progress(session, batch_id, reader)
        sayings = told.sayings(session, batch_id, reader)
        work = told.work(session, batch_id, reader)
        gold = told.gold_answers(session, batch_id, reader)
    right, tested = Counter[str](), Counter[str]()
    for annotator, verdict, said, answer in gold:
        if verdict != SKIPPED:
            tested[annotator] += 1
            right[annotator] += answer == {"verdict": verdict, "issues": said.split()}
    names = (GOOD, *issues)
    units = _by_size(sayings, names)
    yes = np.concatenate([said.sum(axis=1) for said, _ in units] or [np.zeros((0, len(names)), dtype=np.int64)])
    sizes = np.repeat([said.shape[1] for said, _ in units], [len(counts) for _, counts in units]).astype(np.int64)
    counts = np.concatenate([counts for _, counts in units] or [sizes])
    return Agreement(
        items=items,
        left=left,
        left_for_reader=left_for_reader,
        compared=int(counts[sizes > 1].sum()),
        alpha={
            name: nominal_alpha(np.stack([sizes - yes[:, at], yes[:, at]], axis=1), counts)
            for at, name in enumerate(names)
        },
        names=names,
        confusion=_confusion(units, len(names)),
        pace=tuple(
            Pace(
                annotator,
                done.verdicts.total() - done.verdicts[SKIPPED],
                done.verdicts[SKIPPED],
                per_hour(done.clips, done.hours),
                right[annotator],
                tested[annotator],
            )
            for annotator, done in work.items()
        ),
    )


def _by_size(sayings: dict[tuple[str, ...], int], names: tuple[str, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Units of as many answers each: (whether an answer says a name [units, answers, names], how many such units).

    Issues that the list no longer has are left out.
    """
    codes = {saying: code for code, saying in enumerate({saying for unit in sayings for saying in unit})}
    table = np.zeros((len(codes), len(names)), dtype=np.int64)
    for saying, code in codes.items():
        verdict, *issues = saying.split()
        table[code] = [verdict == GOOD, *(name in issues for name in names[1:])]
    by_size: dict[int, list[tuple[str, ...]]] = {}
    for unit in sayings:
        by_size.setdefault(len(unit), []).append(unit)
    return [
        (
            table[np.array([[codes[saying] for saying in unit] for unit in units])],
            np.array([sayings[unit] for unit in units], dtype=np.int64),
        )
        for units in by_size.values()
    ]


def _confusion(units: Sequence[tuple[np.ndarray, np.ndarray]], names: int) -> np.ndarray:
    """Over every two answers to one item: what one said alone against what the other did; the diagonal is agreed."""
    table = np.zeros((names, names), dtype=np.int64)
    for said, counts in units:
        for one, other in itertools.combinations(range(said.shape[1]), 2):
            both = said[:, one] * said[:, other]
            alone = ((said[:, one] - both) * counts[:, None]).T @ (said[:, other] - both)
            table += alone + alone.T + np.diag(counts @ both)
    return table
