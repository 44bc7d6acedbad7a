"""One thread that works through the job store, outside the web server's own queue, so that a lost connection or a
closed page never stops a job.

Knows nothing about models: it is handed the engine's ports. What a job reports goes to the store; who watches reads it
there. What its owner changes while it runs comes through the live store.
"""

import logging
import threading
import time

from engine.contract.errors import Cancelled, StopEarly, UserError
from engine.contract.progress import Progress, ProgressCallback
from engine.contract.records import GenerationRecord
from engine.contract.request import GenerationRequest
from studio.drafts import begin_draft
from studio.job_rows import Job
from studio.jobs import LATENTS_NAME, POSTER_NAME, RESUME_NAME, JobStore
from studio.live import LiveStore
from studio.ports import EnginePorts

log = logging.getLogger(__name__)
REPORT_EVERY_S = 0.2
"""A decoder reports every frame; the store hears of at most five a second, of every new stage and every preview."""


class Worker:
    """Runs queued jobs one after the other, as the store orders them. `live` holds the running one's settings."""

    def __init__(self, store: JobStore, ports: EnginePorts) -> None:
        self.live = LiveStore()
        self._store = store
        self._ports = ports
        self._work_waits = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="studio-worker", daemon=True)

    def start(self) -> None:
        """Begin with what the store already holds."""
        self._work_waits.set()
        self._thread.start()

    def wake(self) -> None:
        """Say that the store has a new job."""
        self._work_waits.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the running job at its next report, mark it interrupted, and leave the rest queued."""
        self._stopping.set()
        self._work_waits.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._work_waits.clear()
            job = self._store.claim_next()
            if job is None:
                self._work_waits.wait()
            else:
                self._work(job)

    def _work(self, job: Job) -> None:
        try:
            request = self._store.request_of(job)
            record = self._generate(job, request)
            self._keep_poster(job, request)
        except Cancelled:
            self._stopped(job)
        except UserError as error:
            self._store.fail(job.id, error.message, error.field)
        except Exception:  # whatever a job does, the next one must run
            log.exception("job %s failed", job.id)
            self._store.fail(job.id, "Something went wrong on our side; the server's log says what. Try again.")
        else:
            self._store.complete(job.id, record)
        finally:
            self.live.end(job.id)

    def _generate(self, job: Job, request: GenerationRequest) -> GenerationRecord:
        folder = self._store.folder_of(job.id)
        resume_folder = folder / RESUME_NAME
        resume_folder.mkdir(exist_ok=True)
        self.live.begin(job.id, request.settings.live, request.settings.sampling.steps)
        begin_draft(self._store, self._ports, job, request)
        return self._ports.generate(
            request,
            self._watch(job),
            # A replay brings the settings of every step itself.
            live=None if request.settings_by_step else lambda step: self.live.take(job.id, step),
            keep_latents=folder / LATENTS_NAME,
            resume_folder=resume_folder,
        )

    def _keep_poster(self, job: Job, request: GenerationRequest) -> None:
        (self._store.folder_of(job.id) / POSTER_NAME).write_bytes(self._ports.poster(request.out))

    def _stopped(self, job: Job) -> None:
        asked = self._store.stop_requested(job.id)
        if asked == "pause":
            self._store.paused(job.id)
        elif asked == "cancel":
            self._store.cancelled(job.id)
        else:
            self._store.interrupted(job.id)

    def _watch(self, job: Job) -> ProgressCallback:
        heard: dict[str, float | str] = {"at_s": 0.0, "stage": ""}

        def report(progress: Progress) -> None:
            asked = self._store.stop_requested(job.id)
            if self._stopping.is_set() or asked in ("cancel", "pause"):
                raise Cancelled
            if asked == "finish" and progress.stage == "sampling":
                raise StopEarly
            now_s = time.monotonic()
            due = now_s - float(heard["at_s"]) >= REPORT_EVERY_S
            if due or progress.preview is not None or progress.stage != heard["stage"]:
                heard.update(at_s=now_s, stage=progress.stage)
                self._store.report(job.id, progress)

        return report
