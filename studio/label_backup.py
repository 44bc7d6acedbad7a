"""Label events as lines of JSON in a folder that only grows, and that folder in a dataset on Hugging Face.

A Space loses its disk when it restarts; what was labelled there stays in the dataset, from which the next start brings
it back. Every process writes files of its own, so that nothing that was uploaded is ever changed but by appending. A
hub that does not answer is said once in the log, and never stops the studio. Knows nothing about the page.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import CommitScheduler, snapshot_download
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from engine.contract.records import GenerationRecord, without_places
from studio.label_lines import BATCHES, CLIPS, EVENTS, ClipLine, EventLine, lines_in
from studio.review.clips import ClipFolder
from studio.review.database import Database
from studio.review.restore import restore
from studio.review.rows import BatchRow, ClipRow, EventRow, ItemRow
from studio.review.store import BatchFacts, ReviewStore

EVERY_S = 5.0
UPLOAD_EVERY_MIN = 5.0
AT_ONCE = 5000
IN_DATASET = "events"
"""The folder of the dataset that holds the lines."""
log = logging.getLogger(__name__)


class LabelBackup:
    """Copies events that are new since the last `copy` into `folder`, with their batches and clips.

    `elsewhere` are the client ids of events that need no copy.
    """

    def __init__(self, database: Database, folder: Path, elsewhere: frozenset[str] = frozenset()) -> None:
        self._database, self._folder, self._elsewhere = database, folder, elsewhere
        folder.mkdir(parents=True, exist_ok=True)
        self._copied = max((line.number for line in lines_in(folder, EVENTS, EventLine)), default=0)
        self._written: set[tuple[str, Any]] = set()
        self._name = f"{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}.jsonl"
        self.lock: AbstractContextManager[Any] = threading.Lock()
        """Held while lines are written; an uploader brings its own."""

    def copy(self) -> int:
        """Append what is new. Returns how many events were looked at."""
        before, undone = aliased(EventRow), aliased(EventRow)
        new = (
            select(EventRow, ItemRow, BatchRow, before.client_id, undone.client_id)
            .join(ItemRow, ItemRow.id == EventRow.item_id)
            .join(BatchRow, BatchRow.id == EventRow.batch_id)
            .outerjoin(before, before.number == EventRow.previous)
            .outerjoin(undone, undone.number == EventRow.undoes)
            .where(EventRow.number > self._copied)
            .order_by(EventRow.number)
            .limit(AT_ONCE)
        )
        with self._database.reading() as session:
            found = session.execute(new).all()
            wanted = [each for each in found if each[0].client_id not in self._elsewhere]
            batches = self._first_told(BATCHES, {batch.id for _, _, batch, _, _ in wanted})
            told = {clip for _, item, _, _, _ in wanted for clip in (item.clip_id, item.other_clip_id) if clip}
            clips = self._first_told(CLIPS, told)
            lines: dict[str, list[BaseModel]] = {
                BATCHES: _rows(session, BatchRow, BatchFacts, batches),
                CLIPS: [_without_places(line) for line in _rows(session, ClipRow, ClipLine, clips)],
                EVENTS: [_line(*each) for each in wanted],
            }
        with self.lock:
            for beginning, some in lines.items():
                self._append(beginning, some)
        self._written |= {(BATCHES, each) for each in batches} | {(CLIPS, each) for each in clips}
        self._copied = found[-1][0].number if found else self._copied
        return len(found)

    def run(self, stopping: threading.Event) -> None:
        """Copy every few seconds until told to stop, and once more then."""
        ended = False
        while not ended:
            ended = stopping.wait(EVERY_S)
            try:
                while self.copy() == AT_ONCE:
                    pass
            except Exception:  # the next turn tries again from the same event
                log.exception("label events could not be copied")

    def _first_told(self, beginning: str, ids: Iterable[Any]) -> list[Any]:
        return [each for each in ids if (beginning, each) not in self._written]

    def _append(self, beginning: str, lines: Sequence[BaseModel]) -> None:
        if lines:
            with (self._folder / f"{beginning}-{self._name}").open("a", encoding="utf-8") as file:
                file.writelines(line.model_dump_json() + "\n" for line in lines)


def begin_backup(store: ReviewStore, clips: ClipFolder, folder: Path, dataset: str, token: str) -> threading.Thread:
    """Bring back what `dataset` holds; then keep copying into `folder`, and that into the dataset, behind the page."""

    def fetched() -> Path:
        patterns = [f"{IN_DATASET}/*.jsonl"]
        kept = snapshot_download(dataset, repo_type="dataset", token=token, allow_patterns=patterns)
        return Path(kept) / IN_DATASET

    def run() -> None:
        scheduler = _uploader(folder, dataset, token)
        backup = LabelBackup(store.database, folder, bring_back(store, clips, fetched))
        backup.lock = scheduler.lock if scheduler else backup.lock
        backup.run(threading.Event())

    folder.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=run, name="label-backup", daemon=True)
    thread.start()
    return thread


def bring_back(store: ReviewStore, clips: ClipFolder, fetch: Callable[[], Path]) -> frozenset[str]:
    """Restore the labels in the folder that `fetch` gives. Returns the client ids there; none where it fails."""
    try:
        found = restore(store, fetch(), lambda clip_id: clips.video_of(clip_id).is_file())
    except Exception as error:  # whatever is wrong there, the studio starts
        log.warning("Labels could not be brought back from the dataset (%s); it keeps them.", _first_line(error))
        return frozenset()
    if found.new or found.left_out:
        log.warning("%d label events were brought back, %d could not be placed.", found.new, found.left_out)
    return found.client_ids


def _uploader(folder: Path, dataset: str, token: str) -> CommitScheduler | None:
    try:
        return CommitScheduler(
            repo_id=dataset,
            repo_type="dataset",
            folder_path=folder,
            path_in_repo=IN_DATASET,
            private=True,
            token=token,
            every=UPLOAD_EVERY_MIN,
            allow_patterns="*.jsonl",
        )
    except Exception as error:  # the studio runs without it
        log.warning("Labels are not copied to %s (%s); check the token.", dataset, _first_line(error))
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _without_places(line: Any) -> BaseModel:
    record = without_places(GenerationRecord.model_validate(line.record))
    return line.model_copy(update={"record": record.model_dump(mode="json")})


def _rows(session: Session, kind: Any, line: type[BaseModel], ids: Sequence[Any]) -> list[BaseModel]:
    return [line.model_validate(row) for row in session.scalars(select(kind).where(kind.id.in_(ids)))]


def _line(event: EventRow, item: ItemRow, batch: BatchRow, previous: str | None, undoes: str | None) -> EventLine:
    return EventLine(
        number=event.number,
        client_id=event.client_id,
        annotator=event.annotator,
        kind=event.kind,  # type: ignore[arg-type]  # it was checked when it was pressed
        data=event.data,
        previous=previous,
        undoes=undoes,
        created_s=event.created_s,
        batch_title=batch.title,
        batch_created_s=batch.created_s,
        clip_id=item.clip_id,
        other_clip_id=item.other_clip_id,
        gold=item.gold,
        place=item.place,
    )
