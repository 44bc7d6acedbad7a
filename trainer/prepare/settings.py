"""What a preparation is asked for: how clips are cut, what is rejected, for which model features are made.

One frozen model from which the flags are made, too. Limits are of our own choosing, found on generated test videos and
to be looked at again on the user's own: the yield report says what each of them costs.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from engine.sampling.tasks import next_valid_length


class PrepareSettings(BaseModel):
    """Every field is a flag of `python -m trainer prepare`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field(default="nano", description="whose features are made: nano, preview, flash or a folder")
    features: bool = Field(
        default=True, description="make features; without them the clips are checked and listed only"
    )
    size_px: int = Field(default=512, ge=64, le=1024, description="pixel models: side of the square of a clip's area")
    clip_frames: int = Field(default=113, ge=5, le=1501, description="frames of a clip at 25 per second, 4n + 1")
    min_frames: int = Field(default=81, ge=5, validate_default=True, description="shorter rests are rejected")
    cuts: Literal["split", "drop"] = Field(
        default="split", description="clips end at a cut, or a video with a cut is rejected"
    )
    min_fps: float = Field(default=20.0, gt=0, description="least frame rate of a video")
    min_side_px: int = Field(default=256, ge=16, description="least width and height of a video")
    min_speech: float = Field(default=0.2, ge=0, le=1, description="least share of a clip with speech")
    overlays: Literal["crop", "drop", "keep"] = Field(
        default="crop", description="what is done about text over the picture"
    )
    min_face: float = Field(default=0.1, ge=0, le=1, description="least height of the face over the picture's")
    min_coverage: float = Field(default=0.95, ge=0, le=1, description="least share of frames with a face")
    max_second_face: float = Field(default=0.2, ge=0, description="largest other face over the speaker's, by area")
    min_sharpness: float = Field(default=8.0, ge=0, description="least variance of the Laplacian of the face at 256 px")
    luma: tuple[float, float] = Field(
        default=(25.0, 230.0), description="darkest and brightest mean of the face, 0 to 255"
    )
    sync: Literal["mesh", "syncnet", "off"] = Field(default="mesh", description="how lips are held against the sound")
    syncnet: Path | None = Field(
        default=None, description="weights of SyncNet (syncnet_v2.model), which are not ours to give"
    )
    max_lag_frames: int = Field(
        default=3, ge=0, le=15, description="largest distance between lips and sound, where it can be told"
    )
    min_lip_r: float = Field(default=0.3, ge=-1, le=1, description="least proxy/mesh_lip_r")
    min_sync_confidence: float = Field(default=3.0, ge=0, description="least confidence of SyncNet")
    shard_clips: int = Field(default=64, ge=1, description="clips in a shard")

    @field_validator("clip_frames")
    @classmethod
    def _folds_into_latents(cls, frames: int) -> int:
        if next_valid_length(frames) != frames:
            raise ValueError(f"must be 4n + 1, so that frames fold into latents; try {next_valid_length(frames)}")
        return frames

    @field_validator("min_frames")
    @classmethod
    def _leaves_whole_clips(cls, frames: int, info: ValidationInfo) -> int:
        most = info.data.get("clip_frames", frames)
        if frames > most:
            raise ValueError(f"must be at most {most}, a clip's frames, or every clip is rejected")
        return frames

    @field_validator("luma")
    @classmethod
    def _rises(cls, luma: tuple[float, float]) -> tuple[float, float]:
        darkest, brightest = luma
        if not 0 <= darkest < brightest <= 255:
            raise ValueError("must be the darkest and the brightest mean, within 0 to 255, like 25,230")
        return luma
