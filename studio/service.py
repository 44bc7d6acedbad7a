"""What the page and the API ask for: a request checked to its files, queued, tuned, stopped, run again, repeated.

Knows nothing about Gradio; `studio.tabs` and the API endpoints are thin layers over it.
"""

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.contract.errors import FaceNotFound, UserError
from engine.contract.motion_edit import MotionEdit
from engine.contract.records import GenerationRecord
from engine.contract.request import GenerationRequest, build_request, new_seed
from engine.contract.settings import LiveSettings
from engine.contract.variants import MEDIA_TITLES, TASK_INFO, VARIANTS, Task, Variant, find_variant
from studio.job_rows import Job
from studio.jobs import JobStore
from studio.ports import EnginePorts
from studio.review.training import Trainings
from studio.speakers import SPEAKER_TRAINER, Speakers
from studio.worker import Worker

KEPT_BY_A_STRETCH = {"task": "task", "model": "model"} | {
    name: title for name, title in MEDIA_TITLES.items() if name != "prompt"
}
OUT_NAME = "video.mp4"


@dataclass(frozen=True)
class Limits:
    """How much one visitor, and everybody, may have waiting; None is no limit. `keep_s` deletes ended jobs."""

    jobs_per_visitor: int | None = None
    jobs: int | None = None
    keep_s: float | None = None


@dataclass(frozen=True)
class Studio:
    """One running studio: its engine, its store, its worker, the model that it starts with, its limits, and the program
    that teaches nano a speaker."""

    ports: EnginePorts
    store: JobStore
    worker: Worker
    model: str
    limits: Limits = field(default_factory=Limits)
    speaker_trainer: Sequence[str] = SPEAKER_TRAINER

    @property
    def variant(self) -> Variant:
        """The description of the model that the studio starts with."""
        return find_variant(self.model)

    @cached_property
    def speakers(self) -> Speakers:
        """Everybody's personal speakers."""
        return Speakers(self.store.folder / "speakers", self.speaker_trainer)

    @cached_property
    def trainings(self) -> Trainings:
        """The trainings on labels."""
        return Trainings(self.store.folder / "review" / "runs")

    def submit(
        self,
        owner: str,
        values: dict[str, Any],
        settings: dict[str, Any] | None = None,
        *,
        presets: dict[str, str | None] | None = None,
        instead_of: str | None = None,
    ) -> Job:
        """Check `values` (request fields) and `settings` (by dotted name) and queue the job.

        `presets` may name a `guidance_preset` and a `speed_preset`; `instead_of` a waiting job that this one replaces.
        The files are opened too, so that a bad one is said beside its field at once. Raises UserError.
        """
        self.check_model(owner, values.get("model"))
        request = self.check(values, settings, presets=presets)
        return self.queue(owner, request, instead_of=instead_of)

    def check(
        self,
        values: dict[str, Any],
        settings: dict[str, Any] | None = None,
        *,
        presets: dict[str, str | None] | None = None,
    ) -> GenerationRequest:
        """The request that `values` and `settings` make, its files opened. Raises UserError."""
        request = self.request_for(values, settings, presets=presets)
        self._open_files(request)
        return request

    def request_for(
        self,
        values: dict[str, Any],
        settings: dict[str, Any] | None = None,
        *,
        presets: dict[str, str | None] | None = None,
    ) -> GenerationRequest:
        """The same, its files not opened. Raises UserError."""
        given = {name: value for name, value in values.items() if value not in (None, "")}
        task: Task = given.get("task", "talking-head")
        info = TASK_INFO.get(task)
        for name in info.needs if info else ():
            if name not in given:
                raise UserError(f"Choose a {MEDIA_TITLES[name]} first, or start from an example.", name)
        if info and info.one_of and not any(name in given for name in info.one_of):
            choice = " or a ".join(MEDIA_TITLES[name] for name in info.one_of)
            raise UserError(f"Choose a {choice} first.", info.one_of[0])
        request = build_request({"model": self.model, "out": OUT_NAME, **given}, settings, **presets or {})
        variant = find_variant(request.model)
        if not variant.is_installed:
            raise UserError(f"{variant.title} is not installed here; choose another model.", "model")
        return request

    def check_model(self, owner: str, model: Any) -> None:
        """Raises UserError where `owner` may not choose `model`: the page, the API, MCP and batches all ask here.

        Everybody has the models by name, the studio's own, and the speakers that they taught. Any other folder of this
        machine is its lead's to name, and whether there is one is nobody else's business.
        """
        own = {speaker.model for speaker in self.speakers.of(owner) if speaker.model}
        if model not in (None, "", self.model, *VARIANTS, *own):
            raise UserError(f"Unknown model {str(model)[:80]!r}: choose {', '.join(VARIANTS)}.", "model")

    def queue(
        self,
        owner: str,
        request: GenerationRequest,
        *,
        instead_of: str | None = None,
        once: str | None = None,
        any_model: bool = False,
    ) -> Job:
        """`queue_all` of one request."""
        return self.queue_all(owner, [request], instead_of=instead_of, once=once, any_model=any_model)[0]

    def queue_all(
        self,
        owner: str,
        requests: Sequence[GenerationRequest],
        *,
        instead_of: str | None = None,
        once: str | None = None,
        any_model: bool = False,
    ) -> list[Job]:
        """Queue checked requests, all or none, at most once for each `once`.

        `instead_of` is a waiting job that the first one replaces; `any_model` is for what a lead asks for, and for
        videos that were made already. Raises UserError where the queue has no room for all of them.
        """
        if not any_model:
            for model in {request.model for request in requests}:
                self.check_model(owner, model)
        jobs = self.store.submit_all(
            owner,
            requests,
            instead_of=instead_of,
            once=once,
            judge=lambda count: self._judge(owner, instead_of, count),
        )
        self.worker.wake()
        return jobs

    def redo(
        self, owner: str, job_id: str, span_s: tuple[float | None, float | None], *, once: str | None = None
    ) -> Job:
        """Queue a finished job anew between two seconds of its video, with a new seed; the rest of it stays.

        Raises UserError for `redo_span_s` where the stretch is not within the video, or its latents are not there.
        """
        job = self.store.find(job_id, owner)
        latents = self.store.latents_of(job) if job else None
        if job is None or latents is None or job.record is None:
            raise UserError("The latents of this video were not kept; generate it once more.", "redo_span_s")
        length_s = job.record["num_frames"] / job.record["fps"]
        start_s, stop_s = span_s
        if start_s is None or stop_s is None or not 0 <= start_s < min(stop_s, length_s):
            shown = " to ".join("?" if moment_s is None else f"{moment_s:g}" for moment_s in span_s)
            raise UserError(
                f"The stretch is {shown} s, the video lasts {length_s:.2f} s: give where it begins and ends.",
                "redo_span_s",
            )
        try:
            made = self.replayed(job)
        except ValidationError as error:
            raise UserError("An older studio made this video; generate it once more.", "redo_span_s") from error
        changes = {"redo_latents": latents, "redo_span_s": (start_s, min(stop_s, length_s)), "seed": new_seed()}
        return self.queue(owner, made.model_copy(update=changes), once=once, any_model=True)

    def can_redraw(self, job: Job) -> bool:
        """Whether the motion of the job's video can be edited: nano's, of a picture, its latents kept."""
        is_nano = job.record is not None and job.request["task"] != "lip-sync" and _is_nano(job.request["model"])
        return is_nano and self.store.latents_of(job) is not None

    def redrawn(self, owner: str, job_id: str, motion: MotionEdit) -> GenerationRequest:
        """The request that draws a finished job's video again with its motion edited.

        Raises UserError for `motion` where there is no such video, or the edit is not within it.
        """
        job = self.store.find(job_id, owner)
        if job is None or job.record is None or not self.can_redraw(job):
            raise UserError(
                "Only a finished nano video of a picture can be redrawn, while its latents are kept.", "motion"
            )
        motion.check_length(job.record["num_frames"] / job.record["fps"])
        try:
            made = self.replayed(job)
        except ValidationError as error:
            raise UserError("An older studio made this video; generate it once more.", "motion") from error
        changes = {"redo_latents": self.store.latents_of(job), "redo_span_s": None, "motion": motion}
        return made.model_copy(update=changes)

    def redraw(self, owner: str, job_id: str, motion: MotionEdit, *, once: str | None = None) -> Job:
        """Queue what `redrawn` says."""
        return self.queue(owner, self.redrawn(owner, job_id, motion), once=once, any_model=True)

    def stretch_of(self, owner: str, job_id: str, values: dict[str, Any]) -> dict[str, Any]:
        """The request fields by which `values` make the stretch anew that the job made.

        Raises UserError for `stretch` where its latents are gone, or the values are of another clip.
        """
        job = self.store.find(job_id, owner)
        kept = self.store.request_of(job) if job else None
        if kept is None or kept.redo_latents is None or not kept.redo_latents.is_file():
            raise UserError("The video of this stretch was deleted; make the whole video.", "stretch")
        for name, title in KEPT_BY_A_STRETCH.items():
            before, now = getattr(kept, name), values.get(name)
            if not (_same_file(before, now) if isinstance(before, Path) else before == (now or None)):
                message = f"A stretch is made anew with the {title} of its video; take that again, or make the whole."
                raise UserError(message, "stretch")
        return {"redo_latents": kept.redo_latents, "redo_span_s": kept.redo_span_s}

    def tune(self, owner: str, job_id: str | None, live: LiveSettings) -> int | None:
        """Let a running job use `live` from its next denoising step on: that step, from 1.

        0 where the job runs and has no step left, so that only a next video could use them; None where none runs.
        """
        job = self.store.find(job_id, owner) if job_id else None
        if job is None or job.state != "running" or not self.worker.live.change(job.id, live):
            return None
        return self.worker.live.next_step(job.id)

    def run_again(self, owner: str, job_id: str) -> None:
        """Queue a job that did not finish, or was paused, once more."""
        if self.store.resume(job_id, owner) or self.store.run_again(job_id, owner):
            self.worker.wake()

    def replayed(self, job: Job) -> GenerationRequest:
        """The job's request with what was changed while it ran, so that it makes the same frames again."""
        request = self.store.request_of(job)
        if job.record is None:
            return request
        return with_steps(request, GenerationRecord.model_validate(job.record))

    def _judge(self, owner: str, instead_of: str | None, count: int) -> None:
        """Raises UserError where the owner, or everybody, has no room for `count` more jobs, less the waiting one that
        the first of them replaces."""
        limits, replaced = self.limits, self.store.find(instead_of, owner) if instead_of else None
        more = count - (replaced is not None and replaced.state == "queued")
        if more == 0:
            return
        most, mine = limits.jobs_per_visitor, self.store.count(owner)
        if most is not None and mine + more > most:
            if count > 1:
                raise UserError(f"These are {count} jobs; you may have {most} waiting, and {mine} are: give fewer.")
            raise UserError(f"You have {most} jobs waiting already; let one of them finish first.")
        if limits.jobs is not None and self.store.count() + more > limits.jobs:
            raise UserError(f"The queue is full ({limits.jobs} jobs); try again in a few minutes.")

    def _open_files(self, request: GenerationRequest) -> None:
        views: dict[str, Any] = {
            "image": self.ports.view_portrait,
            "last_image": self.ports.view_portrait,
            "video": self.ports.view_film,
            "audio": self.ports.view_voice,
        }
        for name, view in views.items():
            path: Path | None = getattr(request, name)
            if path is None:
                continue
            try:
                self.view(name, path, view)
            except FaceNotFound:  # a box drawn by hand stands for it
                if name != "image" or request.face_box is None:
                    raise

    def view(self, name: str, path: Path, view: Any) -> Any:
        """What `view` says of the file; what is wrong with it is said beside the field `name`."""
        try:
            return view(path)
        except UserError as error:
            raise type(error)(error.message, name) from error


def _is_nano(model: str) -> bool:
    try:
        return find_variant(model).is_nano
    except UserError:  # a speaker that is gone
        return False


def _same_file(kept: Path, now: str | Path | None) -> bool:
    return now is not None and Path(now).is_file() and filecmp.cmp(kept, now, shallow=False)


def with_steps(request: GenerationRequest, record: GenerationRecord) -> GenerationRequest:
    """`request` with the settings that the record's steps used; unchanged where those were the request's throughout."""
    if len(record.settings_by_step) != request.settings.sampling.steps:
        return request
    return request.model_copy(update={"settings_by_step": record.settings_by_step})
