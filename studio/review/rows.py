"""The tables of the review tab, for SQLite and PostgreSQL alike.

Knows nothing about what may be done with them (`store`, `queue`). A label event is never changed or deleted; answers,
what items hold of them, leases, cursors and work are derived from events and from what was handed out, so that the next
clip and the agreement page need not read the whole history. Times are seconds since the epoch.
"""

from typing import Any

from sqlalchemy import JSON, Double, ForeignKey, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of one review database."""


class BatchRow(Base):
    """Clips, or pairs of clips, that are labelled together. `kind` is "label" or "pairs"."""

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    title: Mapped[str]
    kind: Mapped[str]
    overlap: Mapped[int]
    """How many annotators answer each item."""
    stage: Mapped[str] = mapped_column(default="")
    side_a: Mapped[str] = mapped_column(default="")
    side_b: Mapped[str] = mapped_column(default="")
    """What the two clips of a pair are, which the annotators are not told."""
    created_by: Mapped[str]
    created_s: Mapped[float] = mapped_column(Double)


class ClipRow(Base):
    """A video by the SHA-256 of its mp4. `files` names what lies beside it: latents and inputs, with their SHA-256."""

    __tablename__ = "clips"

    id: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str]
    num_frames: Mapped[int]
    fps: Mapped[float] = mapped_column(Double)
    width_px: Mapped[int]
    height_px: Mapped[int]
    record: Mapped[dict[str, Any]] = mapped_column(JSON)
    files: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_s: Mapped[float] = mapped_column(Double)


class ItemRow(Base):
    """What is asked about: a clip, or a pair. Items are asked in the order of `place`, which is random.

    `open` is whether it still wants answers; a gold item, whose right answer is known, always does. `said` is what its
    answers say (`labels.said`), so that agreement can be counted without reading them.
    """

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    clip_id: Mapped[str] = mapped_column(ForeignKey("clips.id"))
    other_clip_id: Mapped[str | None] = mapped_column(ForeignKey("clips.id"), default=None)
    gold: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    place: Mapped[float] = mapped_column(Double)
    answers: Mapped[int] = mapped_column(default=0)
    open: Mapped[bool] = mapped_column(default=True)
    said: Mapped[str] = mapped_column(default="")

    __table_args__ = (
        Index("items_in_order", "batch_id", "open", "place"),
        Index("gold_items", "batch_id", sqlite_where=gold.is_not(None), postgresql_where=gold.is_not(None)),
    )


class EventRow(Base):
    """One key press. `previous` is the event that an undo of this one goes back to; `undoes` what an undo took back."""

    __tablename__ = "events"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    client_id: Mapped[str] = mapped_column(unique=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    annotator: Mapped[str]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous: Mapped[int | None] = mapped_column(default=None)
    undoes: Mapped[int | None] = mapped_column(default=None)
    created_s: Mapped[float] = mapped_column(Double)

    __table_args__ = (
        Index("events_of_annotator", "batch_id", "annotator", "number"),
        Index("events_of_item", "item_id", "annotator", "number"),
    )


class AnswerRow(Base):
    """What an annotator's effective events on an item add up to. `verdict` is empty until it is finished."""

    __tablename__ = "answers"

    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    annotator: Mapped[str] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    verdict: Mapped[str] = mapped_column(default="")
    issues: Mapped[str] = mapped_column(default="")
    """The ids of `marks`, with spaces between, sorted: enough for the agreement."""
    marks: Mapped[dict[str, Any]] = mapped_column(JSON)
    note: Mapped[str] = mapped_column(default="")
    answered_s: Mapped[float] = mapped_column(Double)

    __table_args__ = (Index("answers_of_annotator", "batch_id", "annotator", "verdict"),)


class LeaseRow(Base):
    """That an item was handed to an annotator, who has until `until_s`; then others may have it. Lowest `rank` first.

    It stays behind when it has run out, or after a skip, and so tells who went past the item that it is free again.
    """

    __tablename__ = "leases"

    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    annotator: Mapped[str] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    rank: Mapped[float] = mapped_column(Double)
    until_s: Mapped[float] = mapped_column(Double)

    __table_args__ = (Index("leases_of_annotator", "batch_id", "annotator", "rank"),)


class CursorRow(Base):
    """How far along a batch's order an annotator has come."""

    __tablename__ = "cursors"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    annotator: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[float] = mapped_column(Double)


class WorkRow(Base):
    """How long an annotator has worked on a batch: the time between key presses, without the pauses."""

    __tablename__ = "work"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    annotator: Mapped[str] = mapped_column(primary_key=True)
    at_work_s: Mapped[float] = mapped_column(Double, default=0.0)
    pressed_s: Mapped[float] = mapped_column(Double)


class ExpectedRow(Base):
    """A clip that a job of the studio is still making for a batch. A pair becomes an item when both sides are there."""

    __tablename__ = "expected"

    job_id: Mapped[str] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), index=True)
    pair: Mapped[int | None] = mapped_column(default=None)
    side: Mapped[str | None] = mapped_column(default=None)
    clip_id: Mapped[str | None] = mapped_column(ForeignKey("clips.id"), default=None)
