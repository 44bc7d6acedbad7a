"""The job store: every generation that was asked for, kept in SQLite so that a reload or a crash loses none of them.

Knows nothing about Gradio and does no work itself (`studio.worker` does). A job owns a folder that holds copies of
its inputs, its latest preview, what it needs to go on after a stop, and its result; the row names files relative to it,
so the data folder can be moved. Whoever reads or changes a job names its owner: a browser's secret, shown to nobody.

The queue is fair between owners: next is the owner who has waited longest since a job of theirs was begun, and of
theirs the first by position.
"""

import base64
import hashlib
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update

from engine.contract.progress import Progress
from engine.contract.records import GenerationRecord
from engine.contract.request import FILE_FIELDS, GenerationRequest
from studio.clock import SteadyClock
from studio.identity import turn_of
from studio.job_inputs import copied
from studio.job_rows import PENDING, RUNNABLE_AGAIN, Job, JobRow, State, Stop, Transaction, UploadRow, open_database
from studio.private_files import FOLDER_MODE, make_private, private_folder, size_of
from studio.safe_copies import check_database

PREVIEW_NAME = "preview.webp"
POSTER_NAME = "poster.jpg"
DRAFT_NAME = "draft.mp4"
EXPORTED = re.compile(r"export-[\w-]{1,120}\.(mp4|gif|vtt|srt|csv)")
"""What a finished video was exported as."""
LATENTS_NAME = "latents.safetensors"
RESUME_NAME = "resume"
LATEST = 9
"""Jobs by which it is judged how long one takes."""
HALF_WRITTEN = re.compile(
    rf"\..*\.partial|\.export\..*|preview\.new|partial-{re.escape(DRAFT_NAME)}|{RESUME_NAME}/.*\.(partial|new)"
)


class JobStore:
    """Jobs in `folder/jobs.sqlite` and their files in `folder/jobs/<id>/`. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.files = self.folder / "jobs"
        self.folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        private_folder(self.files)
        check_database(self.folder / "jobs.sqlite", "data")
        self._engine = open_database(self.folder / "jobs.sqlite")
        make_private(self.folder / "jobs.sqlite")
        self._clock = SteadyClock()
        self._submitting = threading.Lock()

    def submit(self, owner: str, request: GenerationRequest, *, once: str | None = None) -> Job:
        """`submit_all` of one request."""
        return self.submit_all(owner, [request], once=once)[0]

    def submit_all(
        self,
        owner: str,
        requests: Sequence[GenerationRequest],
        *,
        instead_of: str | None = None,
        once: str | None = None,
        judge: Callable[[int], None] = lambda _: None,
    ) -> list[Job]:
        """Copy the requests' media into folders of new jobs and queue them, all or none. Rows come after their files.

        `instead_of` names a pending job of the same owner whose place in the queue the first one takes. What the owner
        has submitted with the same `once` before is not queued again; the jobs that it became are returned. Only what
        is new is put before `judge`, by its number, which raises where it may not be queued; nothing else is submitted
        meanwhile.
        """
        with self._submitting:
            if once is None:
                ids = [secrets.token_urlsafe(16) for _ in requests]
            else:
                ids = [_name_of(owner, f"{once}-{turn}") for turn in range(len(requests))]
            known = [job for job_id in ids if (job := self.find(job_id, owner))]
            if known:
                return known
            judge(len(requests))
            kept: list[dict[str, Any]] = []
            try:
                kept.extend(copied(request, self.folder_of(name)) for name, request in zip(ids, requests, strict=True))
                return self._queued(owner, dict(zip(ids, kept, strict=True)), instead_of)
            except BaseException:
                for job_id in ids:
                    shutil.rmtree(self.folder_of(job_id), ignore_errors=True)
                raise

    def _queued(self, owner: str, requests: dict[str, dict[str, Any]], instead_of: str | None) -> list[Job]:
        """Rows for jobs whose files are there, by their names."""
        replaced = self.find(instead_of, owner) if instead_of else None
        places = [replaced.position] if replaced and replaced.state in PENDING else []
        jobs: list[Job] = []
        with self._session() as session:
            for job_id, kept in requests.items():
                row = JobRow(id=job_id, owner=owner, state="queued", request=kept, created_s=self._clock.now_s())
                session.add(row)
                session.flush()
                row.position = places.pop() if places else float(row.number)
                session.flush()
                jobs.append(Job.model_validate(row))
        if replaced:
            self.delete(replaced.id, owner)
        return jobs

    def find(self, job_id: str, owner: str) -> Job | None:
        """The job, or None where there is none or it is somebody else's: a stranger cannot tell the two apart."""
        return self._one((JobRow.id == job_id) & (JobRow.owner == owner))

    def find_any(self, job_id: str) -> Job | None:
        """The job, whosever it is: for deciding whether to serve its files, never for showing."""
        return self._one(JobRow.id == job_id)

    def recent(self, owner: str, limit: int = 12, states: Sequence[State] = ()) -> list[Job]:
        """The owner's jobs, newest first; only those in `states`, if any are given."""
        query = select(JobRow).where(JobRow.owner == owner).order_by(JobRow.number.desc()).limit(limit)
        with self._session() as session:
            return [Job.model_validate(row) for row in session.scalars(query.where(*_in(states)))]

    def pending(self, owner: str) -> list[Job]:
        """The owner's jobs that wait or are put aside, in the order in which they will run."""
        query = select(JobRow).where(JobRow.owner == owner, *_in(PENDING)).order_by(JobRow.position)
        with self._session() as session:
            return [Job.model_validate(row) for row in session.scalars(query)]

    def count(self, owner: str | None = None, states: Sequence[State] = ("queued", "running")) -> int:
        """How many jobs are in `states`, of everybody or of whoever shares `owner`'s turn in the queue."""
        turn = None if owner is None else turn_of(owner)
        mine = () if turn is None else ((JobRow.owner == turn) | JobRow.owner.startswith(f"{turn}.", autoescape=True),)
        with self._session() as session:
            return session.scalar(select(func.count()).select_from(JobRow).where(*mine, *_in(states))) or 0

    def jobs_ahead(self, job: Job) -> int:
        """How many jobs will be begun before this queued one, the running one included."""
        with self._session() as session:
            order = _fair_order(session)
        return order.index(job.number) + self.count(states=("running",)) if job.number in order else 0

    def left_s(self, job: Job, age_s: float) -> float:
        """How long an ended job still stays where jobs are deleted at the age `age_s`, in seconds."""
        return max(0.0, (job.finished_s or job.created_s) - self._clock.before_s(age_s))

    def typical_s(self) -> float | None:
        """How long the latest videos took to make, the median in seconds; None where there is none."""
        query = select(JobRow).where(JobRow.state == "done").order_by(JobRow.number.desc()).limit(LATEST)
        with self._session() as session:
            took_s = [Job.model_validate(row).seconds_taken for row in session.scalars(query)]
        known = [seconds for seconds in took_s if seconds is not None]
        return median(known) if known else None

    def folder_of(self, job_id: str) -> Path:
        """Where the job's files are."""
        return self.files / job_id

    def request_of(self, job: Job) -> GenerationRequest:
        """The job's request with the paths of its own copies."""
        folder = self.folder_of(job.id)
        paths = {name: folder / job.request[name] for name in FILE_FIELDS if job.request.get(name)}
        return GenerationRequest(**job.request | paths)

    def result_of(self, job: Job) -> Path | None:
        """The finished video, if there is one."""
        path = self.folder_of(job.id) / job.request["out"]
        return path if job.state == "done" and path.is_file() else None

    def preview_of(self, job: Job) -> bytes | None:
        """The latest preview, an encoded WebP picture."""
        path = self.folder_of(job.id) / PREVIEW_NAME
        return path.read_bytes() if path.is_file() else None

    def latents_of(self, job: Job) -> Path | None:
        """The latents of a finished video, from which a stretch of it can be made anew."""
        path = self.folder_of(job.id) / LATENTS_NAME
        return path if self.result_of(job) is not None and path.is_file() else None

    def goes_on(self, job: Job) -> bool:
        """Whether a job that stopped left finished steps behind, from which its next run goes on."""
        folder = self.folder_of(job.id) / RESUME_NAME
        return folder.is_dir() and any(folder.iterdir())

    def draft_of(self, job: Job) -> Path | None:
        """Nano's draft of an unfinished job, once there is one."""
        path = self.folder_of(job.id) / DRAFT_NAME
        return path if job.unfinished and path.is_file() else None

    def bytes_used(self, owner: str) -> int:
        """What the owner's jobs take on disk."""
        with self._session() as session:
            ids = list(session.scalars(select(JobRow.id).where(JobRow.owner == owner)))
        return sum(size_of(self.folder_of(job_id)) for job_id in ids)

    def request_stop(self, job_id: str, owner: str, stop: Stop) -> None:
        """Ask a running job to stop, which it does at its next report; a waiting one stops at once."""
        mine = _mine(job_id, owner)
        if stop == "cancel":
            if self._change(mine & JobRow.state.in_(PENDING), state="cancelled", finished_s=self._clock.now_s()):
                shutil.rmtree(self.folder_of(job_id) / RESUME_NAME, ignore_errors=True)
        elif stop == "pause":
            self._change(mine & (JobRow.state == "queued"), state="paused")
        self._change(mine & (JobRow.state == "running"), stop_request=stop)

    def stop_requested(self, job_id: str) -> Stop | None:
        """What the owner has asked of this running job."""
        job = self.find_any(job_id)
        return job.stop_request if job else "cancel"

    def resume(self, job_id: str, owner: str) -> Job | None:
        """Queue a paused job again, at its place."""
        return self._change(_mine(job_id, owner) & (JobRow.state == "paused"), state="queued")

    def run_again(self, job_id: str, owner: str) -> Job | None:
        """Queue a failed, cancelled or interrupted job anew, with the same request. None where that is not possible.

        An interrupted one goes on from its last finished step where the engine kept it.
        """
        mine = _mine(job_id, owner) & JobRow.state.in_(RUNNABLE_AGAIN)
        fresh = {"progress": None, "stop_request": None, "error": None, "error_field": None, "record": None}
        return self._change(mine, state="queued", started_s=None, finished_s=None, **fresh)

    def move(self, job_id: str, owner: str, places: int) -> None:
        """Let a pending job run `places` earlier (negative) or later among its owner's."""
        waiting = self.pending(owner)
        here = next((index for index, job in enumerate(waiting) if job.id == job_id), None)
        if here is None:
            return
        there = min(len(waiting) - 1, max(0, here + places))
        order = [job for job in waiting if job.id != job_id]
        order.insert(there, waiting[here])
        for job, position in zip(order, sorted(job.position for job in waiting), strict=True):
            self._change(JobRow.id == job.id, position=position)

    def delete(self, job_id: str, owner: str) -> bool:
        """Forget a job that is not running, with all its files. False where there is none such."""
        with self._session() as session:
            mine = delete(JobRow).where(_mine(job_id, owner) & (JobRow.state != "running"))
            gone = session.execute(mine.returning(JobRow.id)).all()
        if gone:
            shutil.rmtree(self.folder_of(job_id), ignore_errors=True)
        return bool(gone)

    def delete_older_than(self, age_s: float) -> int:
        """Forget every job that ended, or was put aside, longer ago than that. Returns how many."""
        old = (func.coalesce(JobRow.finished_s, JobRow.created_s) < self._clock.before_s(age_s)) & ~JobRow.state.in_(
            ("queued", "running")
        )
        with self._session() as session:
            found = list(session.execute(select(JobRow.id, JobRow.owner).where(old)))
        return sum(self.delete(job_id, owner) for job_id, owner in found)

    def claim_next(self) -> Job | None:
        """Take the next queued job and mark it running; no two workers take the same."""
        while True:
            with self._session() as session:
                order = _fair_order(session)
            if not order:
                return None
            chosen = (JobRow.number == order[0]) & (JobRow.state == "queued")
            job = self._change(chosen, state="running", started_s=self._clock.now_s(), stop_request=None)
            if job is not None:
                return job

    def report(self, job_id: str, progress: Progress) -> None:
        """Keep the latest progress of a running job and, where it brings one, its preview."""
        changes: dict[str, Any] = {"progress": progress.model_dump(mode="json", exclude={"preview"})}
        if progress.preview is not None:
            preview = self.folder_of(job_id) / PREVIEW_NAME
            fresh = preview.with_suffix(".new")
            fresh.write_bytes(progress.preview)
            fresh.replace(preview)
            changes["preview_version"] = JobRow.preview_version + 1
        self._change((JobRow.id == job_id) & (JobRow.state == "running"), **changes)

    def complete(self, job_id: str, record: GenerationRecord) -> None:
        """The job's video is there."""
        self._end(job_id, "done", record=record.model_dump(mode="json"))
        shutil.rmtree(self.folder_of(job_id) / RESUME_NAME, ignore_errors=True)

    def fail(self, job_id: str, message: str, field: str | None = None) -> None:
        """The job ended without a video; `field` names the request field to look at."""
        self._end(job_id, "failed", error=message, error_field=field)

    def cancelled(self, job_id: str) -> None:
        """The job stopped because its owner asked for it."""
        self._end(job_id, "cancelled")
        shutil.rmtree(self.folder_of(job_id) / RESUME_NAME, ignore_errors=True)

    def paused(self, job_id: str) -> None:
        """The job was put aside by its owner; its finished steps stay where the engine kept them."""
        running = (JobRow.id == job_id) & (JobRow.state == "running")
        self._change(running, state="paused", stop_request=None)

    def interrupted(self, job_id: str) -> None:
        """The job stopped because the studio did."""
        self._end(job_id, "interrupted")

    def recover(self) -> int:
        """Mark what a previous process left running as interrupted, and sweep what it had half written.

        Call once, before a worker starts.
        """
        for folder in self.files.iterdir():
            for path in folder.rglob("*"):
                if HALF_WRITTEN.fullmatch(path.relative_to(folder).as_posix()):
                    path.unlink(missing_ok=True)
        with self._session() as session:
            left = update(JobRow).where(JobRow.state == "running")
            result = session.execute(
                left.values(state="interrupted", finished_s=self._clock.now_s()).returning(JobRow.id)
            )
            return len(result.all())

    def note_upload(self, folder: str, visitor: str) -> None:
        """Remember that `visitor` uploaded the file in the upload folder's `folder`."""
        with self._session() as session:
            session.merge(UploadRow(folder=folder, visitor=visitor, created_s=self._clock.now_s()))

    def uploaders(self, folder: str) -> set[str]:
        """Who uploaded what is in `folder`; nobody for what the studio put there itself."""
        with self._session() as session:
            return set(session.scalars(select(UploadRow.visitor).where(UploadRow.folder == folder)))

    def knows_visitor(self, visitor: str) -> bool:
        """Whether anything that is kept belongs to `visitor`, under whatever login."""
        jobs = select(JobRow.id).where(JobRow.owner.endswith(f":{visitor}", autoescape=True))
        uploads = select(UploadRow.folder).where(UploadRow.visitor == visitor)
        with self._session() as session:
            return any(session.scalars(query.limit(1)).first() is not None for query in (jobs, uploads))

    def delete_uploads(self, uploads: Path, age_s: float) -> int:
        """Delete every upload folder in `uploads` in which nothing is younger than that. Returns how many."""
        before_s, gone = self._clock.before_s(age_s), []
        for folder in uploads.iterdir() if uploads.is_dir() else ():
            newest_s = max((path.stat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
            if folder.is_dir() and newest_s < before_s:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder.name)
        with self._session() as session:
            session.execute(delete(UploadRow).where(UploadRow.folder.in_(gone)))
        return len(gone)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _end(self, job_id: str, state: State, **changes: Any) -> None:
        running = (JobRow.id == job_id) & (JobRow.state == "running")
        self._change(running, state=state, finished_s=self._clock.now_s(), **changes)

    def _one(self, condition: ColumnElement[bool]) -> Job | None:
        with self._session() as session:
            row = session.scalars(select(JobRow).where(condition)).one_or_none()
            return None if row is None else Job.model_validate(row)

    def _change(self, condition: ColumnElement[bool], **changes: Any) -> Job | None:
        with self._session() as session:
            row = session.scalars(update(JobRow).where(condition).values(**changes).returning(JobRow)).one_or_none()
            return None if row is None else Job.model_validate(row)

    def _session(self) -> Transaction:
        return Transaction(self._engine)


def _fair_order(session: Transaction) -> list[int]:
    """The numbers of the queued jobs in the order in which they would be begun if each took equally long."""
    begun = select(JobRow.owner, func.max(JobRow.started_s)).group_by(JobRow.owner)
    last_begun: dict[str, float] = {}
    for owner, begun_s in session.execute(begun):
        last_begun[turn_of(owner)] = max(begun_s or 0.0, last_begun.get(turn_of(owner), 0.0))
    queued = select(JobRow.owner, JobRow.number).where(JobRow.state == "queued").order_by(JobRow.position)
    waiting: dict[str, list[int]] = {}
    for owner, number in session.execute(queued):
        waiting.setdefault(turn_of(owner), []).append(number)
    # Round after round, the owner who waits longest first; a dict keeps the order of positions among equals.
    owners = sorted(waiting, key=lambda owner: last_begun[owner])
    rounds = range(max(map(len, waiting.values()), default=0))
    return [waiting[owner][turn] for turn in rounds for owner in owners if turn < len(waiting[owner])]


def _mine(job_id: str, owner: str) -> ColumnElement[bool]:
    return (JobRow.id == job_id) & (JobRow.owner == owner)


def _name_of(owner: str, once: str) -> str:
    """A job's id that only who knows the owner's secret can tell."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{owner} {once}".encode()).digest()[:16]).decode().rstrip("=")


def _in(states: Sequence[State]) -> tuple[ColumnElement[bool], ...]:
    return (JobRow.state.in_(states),) if states else ()
