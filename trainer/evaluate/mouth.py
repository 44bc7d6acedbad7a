"""How far the mouth of a filmed face is open, one value per video frame: FaceMesh's inner lips over the eyes' distance.

A finished video in, a track out; knows nothing about sound. The opening is that of the middle pair of the inner lips
alone (landmarks 13 and 14), measured in the picture's plane.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import FaceNotFound
from engine.media.face import track_face
from engine.media.video import probe, read_video_frames
from engine.variants import FPS

INNER_LIPS = (13, 14)
OUTER_EYE_CORNERS = (33, 263)


@dataclass(frozen=True)
class MouthTrack:
    """The opening at 25 fps, and what it was read from.

    `aperture` [F] holds NaN where no face was seen; `coverage` is the share of frames with one; `frames` and `fps` are
    the file's own.
    """

    aperture: NDArray[np.float64]
    coverage: float
    frames: int
    fps: float


def inner_lip_aperture(landmarks_px: NDArray[np.floating]) -> float:
    """Distance of the inner lips' middles over that of the outer eye corners; landmarks [≥ 468, 2 or 3] in pixels."""
    upper, lower = landmarks_px[list(INNER_LIPS), :2]
    right, left = landmarks_px[list(OUTER_EYE_CORNERS), :2]
    return float(np.linalg.norm(upper - lower) / np.linalg.norm(right - left))


def aperture_track(frames: Iterator[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """The opening in every frame of one video (uint8 RGB [H, W, 3]), NaN where no face is seen: [frames]."""
    tracked = track_face(frames)
    return np.array([np.nan if face is None else inner_lip_aperture(face) for face in tracked])


def read_mouth_track(path: Path) -> MouthTrack:
    """The mouth in the video at `path`, brought to 25 fps by taking the frame shown at each time.

    Frames are taken to be evenly spaced. Raises UserError where the file is no video, FaceNotFound where no frame shows
    a face.
    """
    fps = probe(path).fps
    aperture = aperture_track(read_video_frames(path))
    seen = np.isfinite(aperture)
    if not seen.any():
        raise FaceNotFound(f"{path.name}: no face is seen in any of its {len(aperture)} frames.", "video")
    return MouthTrack(at_metric_rate(aperture, fps), float(seen.mean()), len(aperture), fps)


def at_metric_rate(track: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
    """A track at `fps` as one at 25 per second: the value shown at the middle of each frame."""
    frames = round(len(track) / fps * FPS)
    shown = ((np.arange(frames) + 0.5) / FPS * fps).astype(int)
    return track[np.minimum(shown, len(track) - 1)]
