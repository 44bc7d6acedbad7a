"""Labels brought back from the lines that were copied of them (`studio.label_lines`), into whatever the store holds.

An event that is there already, by its client id, stays as it is; what is new is added in the order in which it was
pressed. Videos do not come back: an item without one is not handed out any more. Knows nothing about where lines are
kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.label_lines import BATCHES, CLIPS, EVENTS, ClipLine, EventLine, lines_in
from studio.review.rows import AnswerRow, BatchRow, ClipRow, EventRow, ItemRow
from studio.review.store import Batch, BatchFacts, ReviewStore

AT_ONCE = 500
"""Events a transaction: whoever labels meanwhile waits for no longer than that takes."""


@dataclass(frozen=True)
class Restored:
    """How many events were new, how many could not be placed, and the client ids of all that were read."""

    new: int
    left_out: int
    client_ids: frozenset[str]


def restore(store: ReviewStore, folder: Path, has_video: Callable[[str], bool]) -> Restored:
    """Add what the lines in `folder` tell and the store does not have. `has_video` is asked of a clip's id."""
    batches = {(line.title, line.created_s): line for line in lines_in(folder, BATCHES, BatchFacts)}
    clips = {line.id: line for line in lines_in(folder, CLIPS, ClipLine)}
    events = {line.client_id: line for line in lines_in(folder, EVENTS, EventLine)}
    with store.database.reading() as session:
        known = {name: number for name, number in session.execute(select(EventRow.client_id, EventRow.number))}
    ordered = sorted((line for line in events.values() if line.client_id not in known), key=_moment)
    new = 0
    for first in range(0, len(ordered), AT_ONCE):
        with store.database.writing() as session:
            placing = _Placing(store, session, batches, clips, known, has_video)
            new += placing.add(ordered[first : first + AT_ONCE])
    return Restored(new, len(ordered) - new, frozenset(events))


def _moment(line: EventLine) -> tuple[float, int]:
    return line.created_s, line.number


@dataclass
class _Placing:
    """One transaction that adds events. `known` grows: the number of every event by its client id."""

    store: ReviewStore
    session: Session
    batches: dict[tuple[str, float], BatchFacts]
    clips: dict[str, ClipLine]
    known: dict[str, int]
    has_video: Callable[[str], bool]

    def add(self, lines: Sequence[EventLine]) -> int:
        """Those that can be placed. Returns how many."""
        touched: dict[tuple[int, str], float] = {}
        added = 0
        for line in lines:
            item = self._item(line)
            if item is None or (line.undoes is not None and line.undoes not in self.known):
                continue
            event = EventRow(batch_id=item.batch_id, item_id=item.id, **line.model_dump(include=set(_AS_IT_WAS)))
            event.previous = self.known.get(line.previous or "")
            event.undoes = self.known.get(line.undoes or "")
            self.session.add(event)
            self.session.flush()
            self.known[line.client_id] = event.number
            touched[item.id, line.annotator] = line.created_s
            added += 1
        for (item_id, annotator), at_s in touched.items():
            self._settle(self.session.get_one(ItemRow, item_id), annotator, at_s)
        return added

    def _settle(self, item: ItemRow, annotator: str, at_s: float) -> None:
        batch = Batch.model_validate(self.session.get_one(BatchRow, item.batch_id))
        row = self.session.get(AnswerRow, (item.id, annotator))
        self.store.settle(self.session, annotator, batch, item, row, at_s=at_s)
        item.open = item.open and all(self.has_video(clip_id) for clip_id in _clips_of(item))

    def _item(self, line: EventLine) -> ItemRow | None:
        """What the event is about, made where it is not there; None where nothing tells of its batch or clips."""
        batch_id = self._batch(line)
        if batch_id is None or not all(self._has_clip(clip_id) for clip_id in _clips_of(line)):
            return None
        same = (ItemRow.batch_id == batch_id) & (ItemRow.clip_id == line.clip_id)
        item = self.session.scalar(select(ItemRow).where(same, ItemRow.other_clip_id == line.other_clip_id))
        if item is None:
            about = line.model_dump(include={"clip_id", "other_clip_id", "gold", "place"})
            item = ItemRow(batch_id=batch_id, **about)
            self.session.add(item)
            self.session.flush()
        return item

    def _batch(self, line: EventLine) -> int | None:
        key = (line.batch_title, line.batch_created_s)
        same = (BatchRow.title == key[0]) & (BatchRow.created_s == key[1])
        row = self.session.scalar(select(BatchRow).where(same))
        if row is None and key in self.batches:
            row = BatchRow(**self.batches[key].model_dump())
            self.session.add(row)
            self.session.flush()
        return None if row is None else row.id

    def _has_clip(self, clip_id: str) -> bool:
        if self.session.get(ClipRow, clip_id) is not None:
            return True
        if clip_id not in self.clips:
            return False
        self.session.add(ClipRow(**self.clips[clip_id].model_dump()))
        self.session.flush()
        return True


_AS_IT_WAS = ("client_id", "annotator", "kind", "data", "created_s")


def _clips_of(about: ItemRow | EventLine) -> tuple[str, ...]:
    return tuple(clip_id for clip_id in (about.clip_id, about.other_clip_id) if clip_id)
