"""The preference report: of two ways to make the same clip, which one people prefer (the paper's user study).

Counts per side with ties apart, the share of side b among those who had a preference with its 95 % interval (Wilson),
the two-sided sign test, and how far annotators agree. As in `agreement`, only about pairs that the reader is done with.
"""

import math
from dataclasses import dataclass

import numpy as np

from studio.review import told
from studio.review.alpha import nominal_alpha
from studio.review.database import Database

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
        sayings = told.sayings(session, batch_id, reader)
        work = told.work(session, batch_id, reader)
    from scipy.stats import binomtest  # takes a second to import

    pairs = np.array(list(sayings.values()), dtype=np.int64)
    chosen = np.array([[said.count(choice) for choice in CHOICES] for said in sayings], dtype=np.int64).reshape(-1, 3)
    counts = dict(zip(CHOICES, (pairs @ chosen).tolist(), strict=True))
    decided = counts["a"] + counts["b"]
    share, interval, p = math.nan, (math.nan, math.nan), math.nan
    if decided:
        test = binomtest(counts["b"], decided)
        wilson = test.proportion_ci(method="wilson")
        share, interval, p = counts["b"] / decided, (float(wilson.low), float(wilson.high)), float(test.pvalue)
    return Preferences(
        pairs=int(pairs.sum()),
        counts=counts,
        share_b=share,
        interval=interval,
        sign_test_p=p,
        alpha=nominal_alpha(chosen, pairs),
        by_annotator={
            name: {choice: done.verdicts[choice] for choice in CHOICES}
            for name, done in work.items()
            if any(done.verdicts[choice] for choice in CHOICES)
        },
    )
