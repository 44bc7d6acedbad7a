"""Rows and stages: a row says what is known about a video or a clip, a stage is a pure function that adds to it.

A row is a mapping of plain values (what JSON holds), always with `id` (for people) and `key` (16 hexadecimal digits,
for files). A stage has a version, to be raised whenever it would answer differently, and names the settings it reads.
Each row's journal keeps what every stage answered, under a stamp of all that the answer depends on: the row it began
with, versions and settings up to that stage. So a run that was killed goes on behind the last answer, and a run with
other settings redoes what they change, and no more. Knows nothing about videos.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import UserError
from trainer.data.files import DiskFull, written_whole
from trainer.prepare.settings import PrepareSettings

Row = dict[str, Any]


class Rejected(Exception):
    """A stage turns a row down. `reason` is counted in the yield report, `detail` is one sentence with the numbers."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Workshop:
    """Where rows are worked on: `source` holds the videos, `folder` what stages keep beside the rows."""

    source: Path
    folder: Path
    settings: PrepareSettings

    def file(self, kind: str, key: str, suffix: str) -> Path:
        """The place of one file that belongs to the row `key`."""
        return self.folder / kind / key[:2] / f"{key}{suffix}"


@dataclass(frozen=True)
class Stage:
    """`run(row, workshop)` returns the fields it adds, or raises Rejected. Fields ending in `_file` name files under
    the workshop's folder, without which an answer does not count."""

    name: str
    version: int
    run: Callable[[Row, Workshop], Row]
    settings: tuple[str, ...] = ()

    def stamp(self, before: str, settings: PrepareSettings) -> str:
        """Of this stage's answer to a row whose stamp was `before`."""
        read = {name: str(getattr(settings, name)) for name in self.settings}
        return stamp_of([before, self.name, self.version, read])


def stamp_of(value: Any) -> str:
    """16 hexadecimal digits that stand for a plain value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def key_of(identity: str) -> str:
    """The `key` of a row with this `id`."""
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def work_on(row: Row, stages: Sequence[Stage], workshop: Workshop) -> Row:
    """`row` behind all `stages`, or behind the first that rejected it.

    Adds `status` ("accepted" or "rejected"), `stage`, `reason` and `detail` (empty where accepted) and `stamp`. A file
    that the engine refuses is rejected as "unreadable"; DiskFull is passed on.
    """
    journal = workshop.file("rows", row["key"], ".json")
    before = json.loads(journal.read_text())["answers"] if journal.exists() else []
    answers: list[Row] = []
    result = dict(row)
    stamp = stamp_of(row)
    for index, stage in enumerate(stages):
        stamp = stage.stamp(stamp, workshop.settings)
        if index < len(before) and before[index]["stamp"] == stamp and _is_whole(before[index], workshop):
            answer = before[index]
        else:
            before = before[:index]
            answer = {"stage": stage.name, "stamp": stamp, **_answer(stage, result, workshop)}
            with written_whole(journal) as partial:
                partial.write_text(json.dumps({"id": row["id"], "answers": [*answers, answer]}))
        answers.append(answer)
        if "rejected" in answer:
            reason, detail = answer["rejected"]
            return result | {
                "status": "rejected",
                "stage": stage.name,
                "reason": reason,
                "detail": detail,
                "stamp": stamp,
            }
        result |= answer["fields"]
    return result | {"status": "accepted", "stage": "", "reason": "", "detail": "", "stamp": stamp}


def _answer(stage: Stage, row: Row, workshop: Workshop) -> Row:
    try:
        # Through JSON, so that a fresh answer and one from the journal are the same values.
        return {"fields": json.loads(json.dumps(stage.run(row, workshop)))}
    except Rejected as error:
        return {"rejected": [error.reason, error.detail]}
    except DiskFull:
        raise
    except UserError as error:
        return {"rejected": ["unreadable", error.message]}


def _is_whole(answer: Row, workshop: Workshop) -> bool:
    fields = answer.get("fields", {})
    return all((workshop.folder / fields[name]).is_file() for name in fields if name.endswith("_file"))
