"""Label events as lines of JSON in a folder that only grows, and that folder in a dataset on Hugging Face.

A Space loses its disk when it restarts; what was labelled there stays in the dataset. Every process writes a file of
its own, so that nothing that was uploaded is ever changed but by appending. Knows nothing about the page.
"""

import json
import logging
import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import CommitScheduler
from sqlalchemy import select

from studio.review.database import Database
from studio.review.rows import EventRow, ItemRow

EVERY_S = 5.0
UPLOAD_EVERY_MIN = 5.0
AT_ONCE = 5000
log = logging.getLogger(__name__)


class LabelBackup:
    """Copies events that are new since the last `copy` into `folder`: an event is a line, with its clips."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        folder.mkdir(parents=True, exist_ok=True)
        self._copied = _last_number(folder)
        day = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self._file = folder / f"events-{day}-{secrets.token_hex(4)}.jsonl"
        self.lock: Any = threading.Lock()
        """Held while a line is written; an uploader brings its own."""

    def copy(self) -> int:
        """Append what is new. Returns how many events."""
        new = (
            select(EventRow, ItemRow.clip_id, ItemRow.other_clip_id)
            .join(ItemRow, ItemRow.id == EventRow.item_id)
            .where(EventRow.number > self._copied)
            .order_by(EventRow.number)
            .limit(AT_ONCE)
        )
        with self._database.reading() as session:
            found = [(_line(event, clip, other), event.number) for event, clip, other in session.execute(new)]
        if found:
            with self.lock, self._file.open("a", encoding="utf-8") as file:
                file.writelines(line for line, _ in found)
            self._copied = found[-1][1]
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


def begin_backup(database: Database, folder: Path, dataset: str, token: str) -> threading.Thread:
    """Keep copying events into `folder`, and the folder into the private dataset `dataset`, while the process lives."""
    backup = LabelBackup(database, folder)
    scheduler = CommitScheduler(
        repo_id=dataset,
        repo_type="dataset",
        folder_path=folder,
        path_in_repo="events",
        private=True,
        token=token,
        every=UPLOAD_EVERY_MIN,
        allow_patterns="*.jsonl",
    )
    backup.lock = scheduler.lock
    thread = threading.Thread(target=backup.run, args=(threading.Event(),), name="label-backup", daemon=True)
    thread.start()
    return thread


def _line(event: EventRow, clip: str, other: str | None) -> str:
    columns = {column.name: getattr(event, column.name) for column in EventRow.__table__.columns}
    return json.dumps(columns | {"clip_id": clip, "other_clip_id": other}, ensure_ascii=False) + "\n"


def _last_number(folder: Path) -> int:
    """The newest event that an earlier process has copied; a line that a crash cut off does not count."""
    last = 0
    for path in folder.glob("events-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                last = max(last, json.loads(line)["number"])
            except (ValueError, KeyError):
                continue
    return last
