"""What is kept about a finished video: enough to know how it was made and to make it again.

Torch-free. The record is written as JSON into the video's own metadata and beside the job.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import UserError
from engine.request import GenerationRequest

METADATA_KEY = "comment"
"""The mp4 metadata field that carries the record; a plain field, so that every tool shows it."""


class GenerationRecord(BaseModel):
    """A finished generation. `request` holds every setting resolved, `notices` what the user was told on the way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    request: GenerationRequest
    checkpoint_sha256: str = Field(description="Of the transformer's weights.")
    image_sha256: str
    audio_sha256: str
    face_box: tuple[float, float, float, float] = Field(description="Fractions xyxy of the EXIF-rotated picture.")
    width_px: int
    height_px: int
    num_frames: int
    fps: int
    notices: tuple[str, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict, description="Wall time spent in each stage.")


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
