"""One thread that works through the job store, outside the web server's own queue, so that a lost connection or a
closed page never stops a job.

Knows nothing about models: it is handed `generate`. What a job reports goes to the store; who watches reads it there.
"""

import logging
import threading
import time
from collections.abc import Callable

from engine.errors import Cancelled, UserError
from engine.progress import Progress, ProgressCallback
from engine.records import GenerationRecord
from engine.request import GenerationRequest
from studio.jobs import Job, JobStore

log = logging.getLogger(__name__)
REPORT_EVERY_S = 0.2
"""A decoder reports every frame; the store hears of at most five a second, of every new stage and every preview."""


class Worker:
    """Runs queued jobs one after the other, oldest first."""

    def __init__(
        self, store: JobStore, generate: Callable[[GenerationRequest, ProgressCallback], GenerationRecord]
    ) -> None:
        self._store = store
        self._generate = generate
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
            record = self._generate(self._store.request_of(job), self._watch(job))
        except Cancelled:
            end = self._store.interrupted if self._stopping.is_set() else self._store.cancelled
            end(job.id)
        except UserError as error:
            self._store.fail(job.id, error.message, error.field)
        except Exception:  # whatever a job does, the next one must run
            log.exception("job %s failed", job.id)
            self._store.fail(job.id, "Something went wrong on our side; the server's log says what. Try again.")
        else:
            self._store.complete(job.id, record)

    def _watch(self, job: Job) -> ProgressCallback:
        heard: dict[str, float | str] = {"at_s": 0.0, "stage": ""}

        def report(progress: Progress) -> None:
            if self._stopping.is_set() or self._store.cancel_requested(job.id):
                raise Cancelled
            now_s = time.monotonic()
            due = now_s - float(heard["at_s"]) >= REPORT_EVERY_S
            if due or progress.preview is not None or progress.stage != heard["stage"]:
                heard.update(at_s=now_s, stage=progress.stage)
                self._store.report(job.id, progress)

        return report
