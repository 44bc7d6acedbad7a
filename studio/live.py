"""The live settings of running jobs: what the page changes, the denoising loop reads at its next step.

Knows nothing about jobs but their ids. Held in memory only: a job that is interrupted keeps what its finished steps
used in its own resume files, and goes on with its request's settings.
"""

import threading

from engine.contract.settings import LiveSettings


class LiveStore:
    """Job id → the settings that its next step uses. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settings: dict[str, LiveSettings] = {}
        self._begun: dict[str, tuple[int, int]] = {}

    def begin(self, job_id: str, settings: LiveSettings, steps: int) -> None:
        """The job starts, with its request's settings, on its way of `steps` denoising steps."""
        with self._lock:
            self._settings[job_id] = settings
            self._begun[job_id] = (0, steps)

    def take(self, job_id: str, step: int) -> LiveSettings:
        """What the step `step`, from 0, uses, which begins now."""
        with self._lock:
            self._begun[job_id] = (step + 1, self._begun[job_id][1])
            return self._settings[job_id]

    def next_step(self, job_id: str) -> int | None:
        """The next step to begin, from 1; 0 where all have begun, None where the job does not run."""
        with self._lock:
            if job_id not in self._begun:
                return None
            begun, steps = self._begun[job_id]
            return begun + 1 if begun < steps else 0

    def change(self, job_id: str, settings: LiveSettings) -> bool:
        """From its next step on the job uses `settings`. False where it is not running."""
        with self._lock:
            running = job_id in self._settings
            if running:
                self._settings[job_id] = settings
            return running

    def end(self, job_id: str) -> None:
        """The job has ended, however it did."""
        with self._lock:
            self._settings.pop(job_id, None)
            self._begun.pop(job_id, None)
