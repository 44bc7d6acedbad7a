"""What is kept about a finished video: enough to know how it was made and to make it again.

Torch-free. The record is written as JSON into the video's own metadata and beside the job.
"""

import hashlib
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.contract.errors import UserError
from engine.contract.request import FILE_FIELDS, Box, GenerationRequest
from engine.contract.settings import LiveSettings, PhaseNegativeSettings, Section
from engine.contract.variants import FPS, VARIANTS, Task, find_variant

METADATA_KEY = "comment"
"""The mp4 metadata field that carries the record; a plain field, so that every tool shows it."""


class WindowDrift(BaseModel):
    """How one window of a long clip differs from the reference picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_frame: int
    stop_frame: int
    colour: float = Field(description="Distance of the mean colours in CIE Lab, ΔE76.")
    sharpness: float = Field(description="Variance of the Laplacian against the picture's, 1 = as sharp.")
    identity: float = Field(description="Distance of the face's stable landmarks, in face heights.")


class GenerationRecord(BaseModel):
    """A finished generation. `request` holds every setting resolved, `notices` what the user was told on the way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 2
    request: GenerationRequest
    settings_by_step: tuple[LiveSettings, ...] = Field(
        default=(), description="What every step used; empty where that was the request's settings throughout."
    )
    checkpoint_sha256: str = Field(description="Of the transformer's weights.")
    inputs_sha256: dict[str, str] = Field(description="Of every file that was read, by the request's field.")
    face_box: tuple[float, float, float, float] | None = Field(
        default=None,
        description="Fractions xyxy of the EXIF-rotated picture, or of the film's first frame with a face.",
    )
    width_px: int
    height_px: int
    num_frames: int
    fps: float = Field(description="Frames per second; of a film with uneven timestamps, their mean.")
    drift: tuple[WindowDrift, ...] = Field(default=(), description="How far each window strayed from the picture.")
    notices: tuple[str, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict, description="Wall time spent in each stage.")

    @property
    def maker_sha256(self) -> str:
        """What tells the weights that made the clip: the checkpoint's digest, with a LoRA a digest of both."""
        lora = self.inputs_sha256.get("lora")
        if lora is None:
            return self.checkpoint_sha256
        return hashlib.sha256(f"{self.checkpoint_sha256} {lora}".encode()).hexdigest()


class StoredFile(Section):
    """A file by its path and what is in it."""

    path: Path
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


MOTION_TAU, DETAIL_TAU = (PhaseNegativeSettings().detail_below, 1000.0), (0.0, PhaseNegativeSettings().detail_below)
"""The timesteps at which motion and details are made (paper, PNG), low and high."""


class NegativeIssue(Section):
    """One thing that is wrong with a clip: what, when, where and how much. Every field changes what is learned."""

    id: str = Field(min_length=1, description="The issue's name in the list of issues, e.g. lips-off.")
    phase: Literal["motion", "detail"] = Field(description="The denoising phase that makes it (paper, PNG).")
    frames: tuple[int, int] = Field(description="[start, stop) in frames at the clip's rate.")
    region: Box | None = Field(default=None, description="Fractions xyxy of the frame; None is all of it.")
    severity: Literal[1, 2, 3]

    @model_validator(mode="after")
    def _spans_time(self) -> Self:
        if not 0 <= self.frames[0] < self.frames[1]:
            raise ValueError(f"a span is [start, stop) with 0 <= start < stop; got {self.frames}")
        return self

    @property
    def tau_range(self) -> tuple[float, float]:
        """The timesteps τ, low and high, at which it is unlearned: those of its phase."""
        return MOTION_TAU if self.phase == "motion" else DETAIL_TAU

    @property
    def weight(self) -> float:
        """What its loss counts: ½, 1 or 1½."""
        return self.severity / 2


class NegativeRecord(Section):
    """A labelled clip, one line of JSON: what Negative-DPO learns from. The review tab writes it, the trainer reads it.

    The negative itself is `latents`, the clip's final ones kept beside it, never a re-encoding of the mp4.
    """

    schema_version: Literal[2] = 2
    clip_id: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the mp4.")
    latents: StoredFile | None
    checkpoint_sha256: str = Field(description="What made the clip: `GenerationRecord.maker_sha256`.")
    variant: Literal["nano", "preview", "flash"]
    task: Task
    request: GenerationRequest
    settings_by_step: tuple[LiveSettings, ...] = ()
    inputs: dict[str, StoredFile] = Field(description="The files that the clip was made from, by the request's field.")
    stage: str = Field(default="", description="The training stage whose checkpoint made the clip; empty if unknown.")
    fps: float = Field(gt=0, description="Frames per second of the clip, in which its issues' frames count.")
    verdict: Literal["good", "bad"]
    issues: tuple[NegativeIssue, ...] = ()
    note: str = ""
    annotator: str
    created_utc: datetime

    @model_validator(mode="before")
    @classmethod
    def _reads_version_1(cls, given: Any) -> Any:
        """A line of version 1, whose spans count in seconds, as it was learned from: in frames of 1/25 s."""
        if not isinstance(given, dict) or given.get("schema_version", 1) != 1 or "fps" in given:
            return given
        issues = []
        for issue in given.get("issues", ()):
            start, stop = (round(FPS * moment_s) for moment_s in issue["span_s"])
            kept = {name: value for name, value in issue.items() if name not in {"span_s", "span_frames"}}
            issues.append(kept | {"frames": (start, max(start + 1, stop))})
        return given | {"schema_version": 2, "fps": FPS, "issues": issues}

    @model_validator(mode="after")
    def _says_what_is_bad(self) -> Self:
        if (self.verdict == "bad") != bool(self.issues):
            raise ValueError("a bad clip has at least one issue, a good one none")
        return self


def without_places(record: GenerationRecord) -> GenerationRecord:
    """The record as it may leave this machine: of files their plain names, of a model's folder the kind of model.

    What the files and the weights were tell their hashes. A record that is so already stays as it is.
    """
    return record.model_copy(update={"request": request_without_places(record.request)})


def request_without_places(request: GenerationRequest) -> GenerationRequest:
    """The same for a request."""
    files = {name: getattr(request, name) for name in FILE_FIELDS}
    named = {name: Path(plain_name(path)) for name, path in files.items() if path is not None}
    return request.model_copy(update=named | {"model": _kind_of_model(request.model)})


def _kind_of_model(model: str) -> str:
    if model in VARIANTS:
        return model
    try:
        return find_variant(model).name
    except UserError:  # of another machine, or moved since
        return plain_name(model)


def plain_name(path: Path | str) -> str:
    """The last part of a path, whichever system wrote it."""
    return re.split(r"[\\/]", str(path).rstrip("\\/"))[-1] or "file"


def read_record(video: Path) -> GenerationRecord:
    """The record that `video` carries. Raises UserError if it is no video or was not made here."""
    # Only this function opens a file; whoever needs just the model of a record need not have the media libraries.
    from engine.media.video import read_metadata

    stored = read_metadata(video).get(METADATA_KEY)
    if stored is None:
        raise UserError(f"{video.name} carries no record: it was not made here, or was re-encoded since.", "video")
    try:
        return GenerationRecord.model_validate_json(stored)
    except ValidationError:
        raise UserError(f"The record in {video.name} is not one of ours, or of another version.", "video") from None
