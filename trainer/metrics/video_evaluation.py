"""Everything that is measured of one finished video: its own file's facts, the proxies, and SyncNet where it is given.

`canonical` holds metrics under their published names, `proxy` what stands in for a judgement; never mixed. What could
not be measured is left out of both and its reason stands in `not_measured`.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contract.errors import FaceNotFound, UserError
from engine.contract.records import read_record
from engine.contract.variants import FPS
from engine.media.audio import read_audio
from engine.media.face import track_face
from engine.media.film import filled
from engine.media.video import probe, read_video_frames
from trainer.metrics.lag_correlation import LagCorrelation
from trainer.metrics.lip_metrics import lip_metrics
from trainer.metrics.mouth import apertures, at_metric_rate
from trainer.metrics.proxies import FrameWatcher, face_proxies, silence_motion
from trainer.metrics.speech_tracks import voiced_frames

SYNC_CROP = "FaceMesh square of 1.6 faces, 224×224, bilinear (published: an S3FD box)"


@dataclass(frozen=True)
class VideoEvaluation:
    """One video's metrics. `frames`, `fps` and `size_px` (width, height) are the file's own; lips run at 25 fps.

    `steps` come from the record of a video that was made here, None for others; `seconds` of its generation are not in
    its file, which is the same whenever it is made: they are told, or None.
    """

    path: Path
    sha256: str
    frames: int
    fps: float
    size_px: tuple[int, int]
    coverage: float
    """Share of frames with a face."""
    mesh_lip_r: LagCorrelation
    viseme_r: LagCorrelation | None
    """None unless the speech was said to be English."""
    proxies: dict[str, float]
    canonical: dict[str, float] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None

    @property
    def proxy_values(self) -> dict[str, float]:
        """Every proxy as one number."""
        lips = {"mesh_lip_r": self.mesh_lip_r.r} | ({"viseme_r": self.viseme_r.r} if self.viseme_r else {})
        return lips | self.proxies

    def as_json(self) -> dict[str, Any]:
        """The video's part of the report."""
        proxy: dict[str, Any] = {"mesh_lip_r": asdict(self.mesh_lip_r) | {"coverage": self.coverage}}
        if self.viseme_r is not None:
            proxy["viseme_r"] = asdict(self.viseme_r) | {"coverage": self.coverage}
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "frames": self.frames,
            "fps": self.fps,
            "width_px": self.size_px[0],
            "height_px": self.size_px[1],
            "steps": self.steps,
            "seconds": self.seconds,
            "canonical": self.canonical,
            "proxy": proxy | self.proxies,
            "not_measured": self.not_measured,
        }


def evaluate_video(
    path: Path, english: bool = False, syncnet: Path | None = None, seconds: float | None = None
) -> VideoEvaluation:
    """Read `path`, find its face, and measure everything that needs no other video.

    `syncnet` are weights that were found to be the published ones, `seconds` what the generation took. Frames are taken
    to be evenly spaced. Raises UserError, naming the file, where it cannot be read, has no sound, shows no face, holds
    no speech, or is below 81 frames at 25 fps.
    """
    if not path.is_file():
        raise UserError(f"The video {path} does not exist; check the path.", "video")
    audio = read_audio(path, field="video")  # first, because it is quick to refuse
    fps = probe(path).fps
    watcher = FrameWatcher(fps)
    tracked = list(track_face(watcher.watch(read_video_frames(path))))
    seen = [face is not None for face in tracked]
    if not any(seen):
        raise FaceNotFound(f"{path.name}: no face is seen in any of its {len(tracked)} frames.", "video")
    aperture = at_metric_rate(apertures(tracked), fps)
    try:
        mesh_lip_r, viseme_r = lip_metrics(aperture, audio, english)
    except UserError as error:
        raise UserError(f"{path.name}: {error.message}", "video") from error
    proxies = watcher.measured() | face_proxies(tracked, fps) | {"silence_motion": _silence(aperture, audio)}
    canonical: dict[str, float] = {}
    missing = {f"proxy/{name}": "too little to measure it on" for name, value in proxies.items() if math.isnan(value)}
    if syncnet is not None:
        from trainer.metrics.syncnet import SyncNet

        shown = at_metric_rate(np.arange(len(tracked), dtype=np.float64), fps).astype(int)
        _, confidence, distance = SyncNet.load(syncnet).measure(_at_25(path, shown), filled(tracked)[shown], audio)
        canonical = {"Sync-C": confidence, "Sync-D": distance}
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return VideoEvaluation(
        path=path,
        sha256=sha256,
        frames=len(tracked),
        fps=fps,
        size_px=watcher.size_px,
        coverage=float(np.mean(seen)),
        mesh_lip_r=mesh_lip_r,
        viseme_r=viseme_r,
        proxies={name: value for name, value in proxies.items() if not math.isnan(value)},
        canonical=canonical,
        not_measured=missing,
        steps=_steps(path),
        seconds=seconds,
    )


def _silence(aperture: NDArray[np.float64], audio: NDArray[np.float32]) -> float:
    voiced = voiced_frames(audio)[: len(aperture)]
    return silence_motion(aperture[: len(voiced)], voiced, FPS)


def _at_25(path: Path, shown: NDArray[np.int_]) -> Iterator[NDArray[np.uint8]]:
    """The frames that are `shown`, numbers that never fall; one that is shown twice comes twice."""
    at = 0
    for index, frame in enumerate(read_video_frames(path)):
        while at < len(shown) and shown[at] == index:
            yield frame
            at += 1


def _steps(path: Path) -> int | None:
    """The denoising steps of a video that was made here; None for any other."""
    try:
        return read_record(path).request.settings.sampling.steps
    except UserError:
        return None
