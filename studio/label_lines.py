"""What is copied of labels, as lines of JSON: events, and the batches and clips that they are about.

A line stands for itself: it names others by what stays the same in another database (a client's id, a clip's SHA-256, a
batch's title and moment), never by a row's number. Knows nothing about where lines are kept.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.review.labels import Kind
from studio.review.store import Clip

EVENTS, BATCHES, CLIPS = "events", "batches", "clips"
"""How the files of each kind of line begin."""
Line = TypeVar("Line", bound=BaseModel)


class ClipLine(Clip):
    """A clip, without its video."""

    created_s: float


class EventLine(BaseModel):
    """A key press about an item of a batch. `previous` and `undoes` are client ids."""

    model_config = ConfigDict(frozen=True)

    number: int
    """In the database that it was copied from, to go on behind it."""
    client_id: str
    annotator: str
    kind: Kind
    data: dict[str, Any]
    previous: str | None
    undoes: str | None
    created_s: float
    batch_title: str
    batch_created_s: float
    clip_id: str
    other_clip_id: str | None
    gold: dict[str, Any] | None
    place: float


def lines_in(folder: Path, beginning: str, kind: type[Line]) -> Iterator[Line]:
    """The lines of one kind in `folder`; what a crash cut off, or another version wrote otherwise, is left out."""
    for path in sorted(folder.glob(f"{beginning}-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield kind.model_validate_json(line)
            except ValidationError:
                continue
