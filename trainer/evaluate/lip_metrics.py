"""The lip metrics of one finished video: how far its mouth opening follows its own sound.

Reported under `proxy`, because both judge the mouth by what it should roughly do, not by a lip reader:
`mesh_lip_r` against the log energy of the 300–3500 Hz band (any language), `viseme_r` against the openness of the
phones that pocketsphinx hears (English). Never tune a model to either.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.media.audio import read_audio
from trainer.evaluate.lag_correlation import LagCorrelation, correlate
from trainer.evaluate.mouth import read_mouth_track
from trainer.evaluate.speech_tracks import band_log_energy_db, num_frames, voiced_frames
from trainer.evaluate.visemes import expected_openness


@dataclass(frozen=True)
class VideoEvaluation:
    """One video's metrics. `frames` and `fps` are the file's own; the tracks below them run at 25 fps."""

    path: Path
    sha256: str
    frames: int
    fps: float
    coverage: float
    """Share of frames with a face."""
    mesh_lip_r: LagCorrelation
    viseme_r: LagCorrelation | None
    """None unless the speech was said to be English."""

    def as_json(self) -> dict[str, Any]:
        """Path, hash, size and the block `proxy`; metrics of real lip readers would stand beside it as `canonical`."""
        proxy: dict[str, Any] = {"mesh_lip_r": asdict(self.mesh_lip_r) | {"coverage": self.coverage}}
        if self.viseme_r is not None:
            proxy["viseme_r"] = asdict(self.viseme_r) | {"coverage": self.coverage}
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "frames": self.frames,
            "fps": self.fps,
            "proxy": proxy,
        }


def evaluate_video(path: Path, english: bool = False) -> VideoEvaluation:
    """Read `path`, find its mouth, and measure it against its sound.

    Raises UserError, naming the file, where it cannot be read, has no sound, shows no face, holds no speech, or is
    below 81 frames at 25 fps.
    """
    if not path.is_file():
        raise UserError(f"The video {path} does not exist; check the path.", "video")
    audio = read_audio(path, field="video")  # first, because it is quick to refuse
    track = read_mouth_track(path)
    try:
        mesh_lip_r, viseme_r = lip_metrics(track.aperture, audio, english)
    except UserError as error:
        raise UserError(f"{path.name}: {error.message}", "video") from error
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return VideoEvaluation(path, sha256, track.frames, track.fps, track.coverage, mesh_lip_r, viseme_r)


def lip_metrics(
    aperture: NDArray[np.float64], audio: NDArray[np.float32], english: bool
) -> tuple[LagCorrelation, LagCorrelation | None]:
    """`mesh_lip_r` and, for English, `viseme_r` of an aperture track [F] at 25 fps and its sound (mono, 16 kHz).

    The longer of the two is cut to the other's length. Raises UserError as `correlate` does, and without speech.
    """
    frames = min(len(aperture), num_frames(audio))
    voiced = voiced_frames(audio)[:frames]
    if not voiced.any():
        raise UserError("No speech is heard in it, so there is nothing to compare the lips with.")
    mouth = aperture[:frames]
    mesh_lip_r = correlate(mouth, band_log_energy_db(audio)[:frames], voiced)
    viseme_r = correlate(mouth, expected_openness(audio)[:frames], voiced) if english else None
    return mesh_lip_r, viseme_r
