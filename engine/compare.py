"""The face at one moment of a clip under two settings, drawn small, side by side and in step.

Nano alone, since it must answer a hand that has just let go. What was drawn is kept, so that a pinned *before* costs
nothing the second time. Knows nothing about the page.
"""

import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from engine.contract.comparison import Comparison, Seen
from engine.contract.errors import UserError
from engine.contract.request import Box, GenerationRequest
from engine.contract.variants import FPS, find_variant
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from engine.media.face import face_in, find_faces, track_face
from engine.media.picture import read_picture
from engine.media.video import VideoWriter, read_video_frames
from engine.session import Session

SECONDS = 1.2
SIDE_PX = 280
MARGIN = 0.45
"""Shown round the face, as a share of its longer side."""
KEPT = 24
EYE_CORNERS_MM = 90.0
_LIPS, _EYE_CORNERS, _NOSE_ROOT = (13, 14), (33, 263), 168


@dataclass(frozen=True)
class _Drawn:
    frames: list[np.ndarray]
    seen: Seen


class Comparer:
    """Draws comparisons with `session`. Safe to use from several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: OrderedDict[str, _Drawn] = OrderedDict()
        self._lock = threading.Lock()
        self._face: tuple[str, Image.Image] | None = None

    def __call__(self, before: GenerationRequest, after: GenerationRequest, at_s: float) -> Comparison:
        """`before` and `after` around `at_s` seconds. Raises UserError for what nano cannot draw, and bad files."""
        for request in (before, after):
            if not find_variant(request.model).is_nano or request.image is None:
                raise UserError("Only nano can draw a live preview, and only of a picture.", "model")
        other_seed = before.model_copy(update={"seed": before.seed ^ 1})
        drawn = [self._drawn(request, at_s) for request in (before, after, other_seed)]
        mp4 = _side_by_side(drawn[0].frames, drawn[1].frames)
        return Comparison(mp4, *(one.seen for one in drawn))

    def _drawn(self, request: GenerationRequest, at_s: float) -> _Drawn:
        key = f"{at_s:.3f} {request.model_dump_json(exclude={'out'})}"
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        drawn = self._draw(request, at_s)
        with self._lock:
            self._kept[key] = drawn
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return drawn

    def _draw(self, request: GenerationRequest, at_s: float) -> _Drawn:
        assert request.image is not None
        wave = read_audio(request.audio)
        length = int(SECONDS * SAMPLE_RATE_HZ)
        start = max(0, min(int(at_s * SAMPLE_RATE_HZ), len(wave) - length))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            image, audio, out = folder / "image.png", folder / "voice.wav", folder / "seen.mp4"
            soundfile.write(audio, wave[start : start + length], SAMPLE_RATE_HZ)
            self._face_of(request).save(image)
            files = {"image": image, "last_image": None, "face_box": None, "audio": audio, "out": out}
            self._session.generate(request.model_copy(update=files | {"task": "talking-head"}))
            frames = list(read_video_frames(out))
        return _Drawn(frames, _seen(frames))

    def _face_of(self, request: GenerationRequest) -> Image.Image:
        """The picture's speaking face with a margin round it, small."""
        assert request.image is not None
        key = f"{request.image} {request.face_box}"
        if self._face is None or self._face[0] != key:
            self._face = key, _crop(read_picture(request.image), request.face_box)
        return self._face[1]


def _crop(picture: np.ndarray, box: Box | None) -> Image.Image:
    faces = find_faces(picture)
    face = (face_in(faces, box, picture.shape) if box else None) or faces[0]
    points = face.landmarks_px[:, :2]
    low, high = points.min(0), points.max(0)
    margin = MARGIN * float((high - low).max())
    x0, y0 = np.maximum(low - margin, 0).astype(int)
    x1, y1 = np.minimum(high + margin, picture.shape[1::-1]).astype(int)
    crop = Image.fromarray(picture[y0:y1, x0:x1])
    crop.thumbnail((SIDE_PX, SIDE_PX))
    return crop


def _seen(frames: list[np.ndarray]) -> Seen:
    """The frames' face; one that is not seen is where it was in the frame before."""
    opening: list[float] = []
    head: list[tuple[float, float]] = []
    for points in track_face(frames):
        if points is None:
            opening.append(opening[-1] if opening else 0.0)
            head.append(head[-1] if head else (0.0, 0.0))
            continue
        per_px = EYE_CORNERS_MM / float(np.linalg.norm(points[_EYE_CORNERS[0]] - points[_EYE_CORNERS[1]]))
        opening.append(max(0.0, per_px * float(points[_LIPS[1], 1] - points[_LIPS[0], 1])))
        head.append((per_px * float(points[_NOSE_ROOT, 0]), per_px * float(points[_NOSE_ROOT, 1])))
    return Seen(tuple(opening), tuple(head))


def _side_by_side(left: list[np.ndarray], right: list[np.ndarray]) -> bytes:
    height, width = left[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.mp4"
        with VideoWriter(path, (2 * width, height), FPS) as writer:
            for one, other in zip(left, right, strict=True):
                writer.write(np.ascontiguousarray(np.hstack([one, other])))
        return path.read_bytes()
