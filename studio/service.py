"""What the page and the API ask for: a request checked to its files, queued, cancelled, run again.

Knows nothing about Gradio; `studio.tabs` and the API endpoints are thin layers over it.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.request import GenerationRequest, build_request
from engine.variants import Variant, find_variant
from studio.jobs import Job, JobStore
from studio.ports import EnginePorts, PortraitView, VoiceView
from studio.worker import Worker

SEED_LIMIT = 2**31


@dataclass(frozen=True)
class Studio:
    """One running studio: its engine, its store, its worker, and the model that it offers."""

    ports: EnginePorts
    store: JobStore
    worker: Worker
    model: str

    @property
    def variant(self) -> Variant:
        """The offered model's description."""
        return find_variant(self.model)

    def submit(self, owner: str, values: dict[str, Any], settings: dict[str, Any] | None = None) -> Job:
        """Check `values` (request fields) and `settings` (by dotted name) and queue the job.

        The files are opened too, so that a bad one is said beside its field at once. Raises UserError.
        """
        for name in ("image", "audio"):
            if not values.get(name):
                title = GenerationRequest.model_fields[name].title or name
                raise UserError(f"Choose a {title.lower()} first, or start from an example.", name)
        request = build_request({**values, "model": self.model, "out": "video.mp4"}, settings)
        self.view_portrait(request.image)
        self.view_voice(request.audio)
        job = self.store.submit(owner, request)
        self.worker.wake()
        return job

    def view_portrait(self, path: Path) -> PortraitView:
        """The picture and its faces. Raises UserError."""
        return self.ports.view_portrait(path)

    def view_voice(self, path: Path) -> VoiceView:
        """The sound's length, within what the model can do. Raises UserError."""
        return self.ports.view_voice(path)

    def cancel(self, owner: str, job_id: str) -> None:
        """Stop the job, waiting or running."""
        self.store.request_cancel(job_id, owner)

    def run_again(self, owner: str, job_id: str) -> None:
        """Queue a job that did not finish once more."""
        if self.store.run_again(job_id, owner):
            self.worker.wake()


def new_owner() -> str:
    """A secret that a browser keeps; whoever has it sees the browser's jobs."""
    return secrets.token_urlsafe(24)


def new_seed() -> int:
    """A seed nobody chose."""
    return secrets.randbelow(SEED_LIMIT)
