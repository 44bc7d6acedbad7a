"""A clip that a model really makes, said to be bad, as the review tab would write it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.contract.records import NegativeIssue, NegativeRecord, StoredFile
from engine.contract.request import build_request
from engine.contract.variants import find_variant
from engine.media.inputs import file_sha256
from engine.session import Session


def stored(path: Path) -> StoredFile:
    return StoredFile(path=path, sha256=file_sha256(path))


def marked(frames: tuple[int, int] = (4, 12), issue: str = "jitter", **more) -> NegativeIssue:
    return NegativeIssue(**{"id": issue, "phase": "motion", "frames": frames, "severity": 2} | more)


def labelled(values: dict[str, Any], settings: dict[str, Any], folder: Path, *issues: NegativeIssue) -> NegativeRecord:
    """The label of the clip that the request `values` with `settings` makes in `folder`, its latents beside it."""
    request = build_request(values | {"out": folder / "clip.mp4"}, settings)
    made = Session().generate(request, keep_latents=folder / "clip.safetensors")
    return NegativeRecord(
        clip_id=file_sha256(request.out),
        latents=stored(folder / "clip.safetensors"),
        checkpoint_sha256=made.checkpoint_sha256,
        variant=find_variant(request.model).name,
        task=request.task,
        request=request,
        inputs={name: StoredFile(path=getattr(request, name), sha256=sum) for name, sum in made.inputs_sha256.items()},
        fps=made.fps,
        verdict="bad",
        issues=issues,
        annotator="rule",
        created_utc=datetime(2026, 1, 1, tzinfo=UTC),
    )


def changed(record: NegativeRecord, **changes) -> NegativeRecord:
    return record.model_copy(update=changes)
