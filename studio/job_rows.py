"""A job as it is kept: the row, what is read from it, and how an older database becomes one of today's.

Knows nothing about what may be done with a job (`studio.jobs`).
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, Engine, create_engine, event, inspect, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

State = Literal["queued", "paused", "running", "done", "failed", "cancelled", "interrupted"]
UNFINISHED: tuple[State, ...] = ("queued", "running")
"""What a page waits for."""
PENDING: tuple[State, ...] = ("queued", "paused")
"""Not begun, or put aside: may be moved, changed and deleted."""
RUNNABLE_AGAIN: tuple[State, ...] = ("failed", "cancelled", "interrupted")
Stop = Literal["cancel", "pause", "finish"]
"""What a running job is asked to do at its next report: end, wait, or keep what is there."""


class Job(BaseModel):
    """One job as it was when it was read. Times are seconds since the epoch; `position` orders the queue."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    number: int
    id: str
    owner: str
    state: State
    position: float
    request: dict[str, Any]
    progress: dict[str, Any] | None
    preview_version: int
    stop_request: Stop | None
    error: str | None
    error_field: str | None
    record: dict[str, Any] | None
    created_s: float
    started_s: float | None
    finished_s: float | None

    @property
    def unfinished(self) -> bool:
        """Queued or running."""
        return self.state in UNFINISHED

    @property
    def seconds_taken(self) -> float | None:
        """Wall time of the run, once it has ended."""
        return None if self.started_s is None or self.finished_s is None else self.finished_s - self.started_s


class Base(DeclarativeBase):
    """The tables of one data folder."""


class JobRow(Base):
    """One job."""

    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    owner: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    position: Mapped[float] = mapped_column(default=0.0)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    preview_version: Mapped[int] = mapped_column(default=0)
    stop_request: Mapped[str | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(default=None)
    error_field: Mapped[str | None] = mapped_column(default=None)
    record: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    created_s: Mapped[float]
    started_s: Mapped[float | None] = mapped_column(default=None)
    finished_s: Mapped[float | None] = mapped_column(default=None)


class UploadRow(Base):
    """That a visitor uploaded a file: who may have it back. `folder` is the name of the upload's own folder."""

    __tablename__ = "uploads"

    folder: Mapped[str] = mapped_column(primary_key=True)
    visitor: Mapped[str] = mapped_column(primary_key=True)
    created_s: Mapped[float]


class Transaction(Session):
    """A session that commits when its block ends without an error."""

    def __exit__(self, type_: Any, value: Any, traceback: Any) -> None:
        """Commit or roll back, then close."""
        try:
            if type_ is None:
                self.commit()
        finally:
            super().__exit__(type_, value, traceback)


def open_database(path: Path) -> Engine:
    """The database at `path`, made or brought up to date. What is committed survives a power cut."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
    event.listen(engine, "connect", _set_pragmas)
    Base.metadata.create_all(engine)
    _add_what_is_new(engine)
    return engine


def _add_what_is_new(engine: Engine) -> None:
    """The first edition's jobs had neither positions nor several ways to stop."""
    columns = {column["name"] for column in inspect(engine).get_columns(JobRow.__tablename__)}
    with engine.begin() as connection:
        if "position" not in columns:
            connection.execute(text("ALTER TABLE jobs ADD COLUMN position FLOAT NOT NULL DEFAULT 0"))
            connection.execute(text("UPDATE jobs SET position = number"))
        if "stop_request" not in columns:
            connection.execute(text("ALTER TABLE jobs ADD COLUMN stop_request VARCHAR"))
        if "cancel_requested" in columns:
            connection.execute(text("ALTER TABLE jobs DROP COLUMN cancel_requested"))


def _set_pragmas(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
