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

    def begin(self, job_id: str, settings: LiveSettings) -> None:
        """The job starts, with its request's settings."""
        with self._lock:
            self._settings[job_id] = settings

    def change(self, job_id: str, settings: LiveSettings) -> bool:
        """From its next step on the job uses `settings`. False where it is not running."""
        with self._lock:
            running = job_id in self._settings
            if running:
                self._settings[job_id] = settings
            return running

    def current(self, job_id: str) -> LiveSettings:
        """What a step that begins now uses."""
        with self._lock:
            return self._settings[job_id]

    def end(self, job_id: str) -> None:
        """The job has ended, however it did."""
        with self._lock:
            self._settings.pop(job_id, None)
