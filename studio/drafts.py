"""Nano's draft of a job that a pixel model works on: the same request, made in seconds, to watch while the other runs.

Knows nothing about models beyond their descriptions. A draft is a courtesy: where it fails, the log says why and the
job goes on.
"""

import logging
import threading
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.request import GenerationRequest, build_request
from engine.contract.variants import NANO, find_variant
from studio.job_rows import Job
from studio.jobs import DRAFT_NAME, JobStore
from studio.ports import EnginePorts

KEPT = ("task", "image", "last_image", "video", "audio", "prompt", "seed", "face_box", "lip_box")
log = logging.getLogger(__name__)


def draft_request(request: GenerationRequest, out: Path) -> GenerationRequest | None:
    """What nano is asked for, with its own settings; None where the job is nano's already, or beyond it."""
    if find_variant(request.model).is_nano or request.task not in NANO.tasks:
        return None
    given = {name: value for name in KEPT if (value := getattr(request, name)) is not None}
    return build_request({**given, "model": NANO.name, "out": out})


def begin_draft(store: JobStore, ports: EnginePorts, job: Job, request: GenerationRequest) -> threading.Thread | None:
    """Make the job's draft beside it, in a thread of its own; None where there is none to make."""
    folder = store.folder_of(job.id)
    partial = folder / f"partial-{DRAFT_NAME}"
    wanted = draft_request(request, partial)
    if wanted is None or (folder / DRAFT_NAME).is_file():
        return None

    def make() -> None:
        try:
            ports.draft(wanted)
            partial.replace(folder / DRAFT_NAME)
        except UserError as error:
            log.info("no draft of job %s: %s", job.id, error.message)
        except Exception:
            log.exception("the draft of job %s failed", job.id)

    thread = threading.Thread(target=make, name="studio-draft", daemon=True)
    thread.start()
    return thread
