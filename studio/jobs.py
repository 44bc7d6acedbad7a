"""The job store: every generation that was asked for, kept in SQLite so that a reload or a crash loses none of them.

Knows nothing about Gradio and does no work itself (`studio.worker` does). A job owns a folder that holds copies of its
inputs, its latest preview and its result; the row names files relative to it, so the data folder can be moved.
Whoever reads or changes a job names its owner: a browser's secret, never shown to another browser.
"""

import re
import secrets
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, ColumnElement, create_engine, event, func, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from engine.errors import UserError
from engine.progress import Progress
from engine.records import GenerationRecord
from engine.request import GenerationRequest

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
UNFINISHED: tuple[State, ...] = ("queued", "running")
RUNNABLE_AGAIN: tuple[State, ...] = ("failed", "cancelled", "interrupted")
MEDIA_FIELDS = ("image", "audio")
PREVIEW_NAME = "preview.webp"


class Job(BaseModel):
    """One job as it was when it was read. Times are seconds since the epoch; `number` gives the order of the queue."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    number: int
    id: str
    owner: str
    state: State
    request: dict[str, Any]
    progress: dict[str, Any] | None
    preview_version: int
    cancel_requested: bool
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


class JobStore:
    """Jobs in `folder/jobs.sqlite` and their files in `folder/jobs/<id>/`. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.files = self.folder / "jobs"
        self.files.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(f"sqlite:///{self.folder / 'jobs.sqlite'}", connect_args={"timeout": 30})
        event.listen(self._engine, "connect", _set_pragmas)
        _Base.metadata.create_all(self._engine)

    def submit(self, owner: str, request: GenerationRequest) -> Job:
        """Copy the request's media into a new job's folder and queue it. The row comes after its files."""
        job_id = secrets.token_urlsafe(16)
        folder = self.files / job_id
        folder.mkdir()
        kept = request.model_dump(mode="json")
        try:
            for name in MEDIA_FIELDS:
                source = Path(getattr(request, name))
                kept[name] = f"{name}-{_plain(source.stem)}{source.suffix.lower()}"
                shutil.copyfile(source, folder / kept[name])
        except OSError as error:
            shutil.rmtree(folder)
            raise UserError(f"{source.name} cannot be read ({error.strerror}); choose it again.", name) from error
        day = datetime.now(UTC).strftime("%Y%m%d")
        kept["out"] = f"{_plain(request.image.stem)}-{day}-{request.seed}.mp4"
        with self._session() as session:
            row = _Row(id=job_id, owner=owner, state="queued", request=kept, created_s=time.time())
            session.add(row)
            session.flush()
            return Job.model_validate(row)

    def find(self, job_id: str, owner: str) -> Job | None:
        """The job, or None where there is none or it is somebody else's: a stranger cannot tell the two apart."""
        return self._one((_Row.id == job_id) & (_Row.owner == owner))

    def recent(self, owner: str, limit: int = 12) -> list[Job]:
        """The owner's jobs, newest first."""
        query = select(_Row).where(_Row.owner == owner).order_by(_Row.number.desc()).limit(limit)
        with self._session() as session:
            return [Job.model_validate(row) for row in session.scalars(query)]

    def jobs_ahead(self, job: Job) -> int:
        """How many jobs will finish before this queued one starts."""
        waiting = (_Row.state == "queued") & (_Row.number < job.number)
        query = select(func.count()).select_from(_Row).where(waiting | (_Row.state == "running"))
        with self._session() as session:
            return session.scalar(query) or 0

    def request_of(self, job: Job) -> GenerationRequest:
        """The job's request with the paths of its own copies."""
        folder = self.files / job.id
        paths = {name: folder / job.request[name] for name in (*MEDIA_FIELDS, "out")}
        return GenerationRequest(**job.request | paths)

    def result_of(self, job: Job) -> Path | None:
        """The finished video, if there is one."""
        path = self.files / job.id / job.request["out"]
        return path if job.state == "done" and path.is_file() else None

    def preview_of(self, job: Job) -> bytes | None:
        """The latest preview, an encoded WebP picture."""
        path = self.files / job.id / PREVIEW_NAME
        return path.read_bytes() if path.is_file() else None

    def request_cancel(self, job_id: str, owner: str) -> None:
        """End a queued job at once; ask a running one to end, which it does at its next report."""
        mine = (_Row.id == job_id) & (_Row.owner == owner)
        self._change(mine & (_Row.state == "queued"), state="cancelled", finished_s=time.time())
        self._change(mine & (_Row.state == "running"), cancel_requested=True)

    def run_again(self, job_id: str, owner: str) -> Job | None:
        """Queue a failed, cancelled or interrupted job anew, with the same request. None where that is not possible."""
        mine = (_Row.id == job_id) & (_Row.owner == owner) & _Row.state.in_(RUNNABLE_AGAIN)
        fresh = {"progress": None, "cancel_requested": False, "error": None, "error_field": None, "record": None}
        return self._change(mine, state="queued", started_s=None, finished_s=None, **fresh)

    def claim_next(self) -> Job | None:
        """Take the oldest queued job and mark it running, in one statement, so that no two workers take the same."""
        oldest = select(func.min(_Row.number)).where(_Row.state == "queued").scalar_subquery()
        return self._change((_Row.number == oldest) & (_Row.state == "queued"), state="running", started_s=time.time())

    def cancel_requested(self, job_id: str) -> bool:
        """Whether the owner wants this job to stop."""
        with self._session() as session:
            return bool(session.scalar(select(_Row.cancel_requested).where(_Row.id == job_id)))

    def report(self, job_id: str, progress: Progress) -> None:
        """Keep the latest progress of a running job and, where it brings one, its preview."""
        changes: dict[str, Any] = {"progress": progress.model_dump(mode="json", exclude={"preview"})}
        if progress.preview is not None:
            preview = self.files / job_id / PREVIEW_NAME
            fresh = preview.with_suffix(".new")
            fresh.write_bytes(progress.preview)
            fresh.replace(preview)
            changes["preview_version"] = _Row.preview_version + 1
        self._change((_Row.id == job_id) & (_Row.state == "running"), **changes)

    def complete(self, job_id: str, record: GenerationRecord) -> None:
        """The job's video is there."""
        self._end(job_id, "done", record=record.model_dump(mode="json"))

    def fail(self, job_id: str, message: str, field: str | None = None) -> None:
        """The job ended without a video; `field` names the request field to look at."""
        self._end(job_id, "failed", error=message, error_field=field)

    def cancelled(self, job_id: str) -> None:
        """The job stopped because its owner asked for it."""
        self._end(job_id, "cancelled")

    def interrupted(self, job_id: str) -> None:
        """The job stopped because the studio did."""
        self._end(job_id, "interrupted")

    def recover(self) -> int:
        """Mark what a previous process left running as interrupted. Call once, before a worker starts."""
        with self._session() as session:
            left = update(_Row).where(_Row.state == "running")
            result = session.execute(left.values(state="interrupted", finished_s=time.time()).returning(_Row.id))
            return len(result.all())

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _end(self, job_id: str, state: State, **changes: Any) -> None:
        running = (_Row.id == job_id) & (_Row.state == "running")
        self._change(running, state=state, finished_s=time.time(), **changes)

    def _one(self, condition: ColumnElement[bool]) -> Job | None:
        with self._session() as session:
            row = session.scalars(select(_Row).where(condition)).one_or_none()
            return None if row is None else Job.model_validate(row)

    def _change(self, condition: ColumnElement[bool], **changes: Any) -> Job | None:
        with self._session() as session:
            row = session.scalars(update(_Row).where(condition).values(**changes).returning(_Row)).one_or_none()
            return None if row is None else Job.model_validate(row)

    def _session(self) -> "_Transaction":
        return _Transaction(self._engine)


class _Transaction(Session):
    """A session that commits when its block ends without an error."""

    def __exit__(self, type_: Any, value: Any, traceback: Any) -> None:
        try:
            if type_ is None:
                self.commit()
        finally:
            super().__exit__(type_, value, traceback)


class _Base(DeclarativeBase):
    pass


class _Row(_Base):
    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    owner: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    preview_version: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None] = mapped_column(default=None)
    error_field: Mapped[str | None] = mapped_column(default=None)
    record: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    created_s: Mapped[float]
    started_s: Mapped[float | None] = mapped_column(default=None)
    finished_s: Mapped[float | None] = mapped_column(default=None)


def _set_pragmas(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _plain(stem: str) -> str:
    """A file stem that every file system and every download dialogue accepts."""
    return re.sub(r"[^\w-]+", "-", stem).strip("-")[:60] or "file"
