"""How far an annotator is with a batch: the clips that want nothing more of them, today's, and their pace.

Tells nothing of which clips are gold: those count when this annotator has answered them, like any other.
"""

import math
from dataclasses import dataclass

from sqlalchemy import ColumnExpressionArgument, func, select
from sqlalchemy.orm import Session

from studio.review import told
from studio.review.database import Database
from studio.review.rows import AnswerRow, ItemRow, WorkRow


@dataclass(frozen=True)
class Progress:
    """`done` of `items` want nothing more of the annotator; `today` were finished since the asked moment."""

    items: int
    done: int
    today: int
    per_hour: float


LEAST_WORK_S = 10.0
"""Of less, nothing can be said about the pace."""


def per_hour(clips: int, hours: float) -> float:
    """The pace wherever it is told: clips finished by the hours between key presses, without the pauses; or NaN."""
    return clips / hours if 3600 * hours >= LEAST_WORK_S else math.nan


def progress_of(database: Database, batch_id: int, annotator: str, since_s: float) -> Progress:
    """The annotator's progress in the batch; `since_s` is when their day began, seconds since the epoch."""
    with database.reading() as session:
        finished = told.finished_by(annotator)
        mine = (AnswerRow.batch_id == batch_id) & (AnswerRow.annotator == annotator) & (AnswerRow.verdict != "")
        clips = _count(session, AnswerRow, mine)
        hours = session.scalar(
            select(WorkRow.at_work_s / 3600).where(WorkRow.batch_id == batch_id, WorkRow.annotator == annotator)
        )
        return Progress(
            items=_count(session, ItemRow, ItemRow.batch_id == batch_id),
            done=clips + _count(session, ItemRow, ItemRow.batch_id == batch_id, ~ItemRow.open, ~finished),
            today=_count(session, AnswerRow, mine, AnswerRow.answered_s >= since_s),
            per_hour=per_hour(clips, hours or 0.0),
        )


def _count(session: Session, table: type, *where: ColumnExpressionArgument[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*where)) or 0
