"""The preference report: of two ways to make the same clip, which one people prefer (the paper's user study).

Counts per side with ties apart, the share of side b among those who had a preference with its 95 % interval (Wilson),
the two-sided sign test, and how far annotators agree. As in `agreement`, only about pairs that the reader is done with.
"""

import math
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from studio.review.agreement import nominal_alpha
from studio.review.database import Database
from studio.review.labels import SKIPPED
from studio.review.rows import AnswerRow, ItemRow

CHOICES = ("a", "b", "tie")


@dataclass(frozen=True)
class Preferences:
    """One batch of pairs. `share_b` is of those with a preference; NaN without any."""

    pairs: int
    counts: dict[str, int]
    share_b: float
    interval: tuple[float, float]
    sign_test_p: float
    alpha: float
    by_annotator: dict[str, dict[str, int]]


def preferences_of(database: Database, batch_id: int, reader: str) -> Preferences:
    """What was preferred in the batch, as `reader` may know it."""
    with database.reading() as session:
        columns = (AnswerRow.item_id, AnswerRow.annotator, AnswerRow.verdict, ItemRow.open)
        query = select(*columns).join(ItemRow, ItemRow.id == AnswerRow.item_id)
        rows = session.execute(
            query.where(AnswerRow.batch_id == batch_id, AnswerRow.verdict.not_in(["", SKIPPED]))
        ).all()
    known = {row.item_id for row in rows if row.annotator == reader}
    told = [row for row in rows if not row.open or row.item_id in known]
    from scipy.stats import binomtest  # takes a second to import

    counts = {choice: sum(row.verdict == choice for row in told) for choice in CHOICES}
    decided = counts["a"] + counts["b"]
    share, interval, p = math.nan, (math.nan, math.nan), math.nan
    if decided:
        test = binomtest(counts["b"], decided)
        wilson = test.proportion_ci(method="wilson")
        share, interval, p = counts["b"] / decided, (float(wilson.low), float(wilson.high)), float(test.pvalue)
    units = np.array([row.item_id for row in told], dtype=np.int64)
    values = np.array([CHOICES.index(row.verdict) for row in told], dtype=np.int64)
    return Preferences(
        pairs=len(set(units.tolist())),
        counts=counts,
        share_b=share,
        interval=interval,
        sign_test_p=p,
        alpha=nominal_alpha(units, values),
        by_annotator={
            name: {choice: sum(row.annotator == name and row.verdict == choice for row in told) for choice in CHOICES}
            for name in sorted({row.annotator for row in told})
        },
    )
