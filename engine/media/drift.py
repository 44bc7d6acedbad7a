"""Drift of a long clip: how far each window's colours, sharpness and face stray from the first frame, and colour match.

Works on a stream of frames, uint8 RGB [H, W, 3], holding one. Colours in CIE Lab (D65), differences as ΔE76, the
Euclidean distance of means; sharpness as the variance of the Laplacian. Knows nothing about models.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from engine.contract.records import WindowDrift
from engine.media.face import detect_faces, skull_distance

COLOUR_SIDE_PX = 128
"""A mean colour is that of about so many rows and columns of a larger frame, evenly spread: it needs no more."""
SHARPNESS_SIDE_PX = 512
MATCH_FRAMES = 8
"""Over so many frames the colour match comes to where the colours have gone: shorter would follow moving lips."""


def mean_lab(frame: np.ndarray) -> np.ndarray:
    """Mean colour [3] of a frame in CIE Lab: L in [0, 100], a and b about [-128, 127]."""
    every = max(1, max(frame.shape[:2]) // COLOUR_SIDE_PX)
    return _lab(frame[::every, ::every]).reshape(-1, 3).mean(axis=0)


def sharpness(frame: np.ndarray) -> float:
    """Variance of the Laplacian of a frame's luma, its longer side at most SHARPNESS_SIDE_PX."""
    grey = cv2.cvtColor(_shrunk(frame, SHARPNESS_SIDE_PX), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


class ColourMatch:
    """Pulls every frame's mean colour back to the first frame's, softly in time."""

    def __init__(self) -> None:
        self._wanted: np.ndarray | None = None
        self._shift = np.zeros(3)

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """The frame with its colours moved in Lab; the first one as it is."""
        colour = mean_lab(frame)
        if self._wanted is None:
            self._wanted = colour
            return frame
        away = self._wanted - colour
        # A jump is followed at once, small changes slowly.
        self._shift += (away - self._shift) * (1.0 if np.linalg.norm(away - self._shift) > 2.0 else 1 / MATCH_FRAMES)
        lab = _lab(frame) + self._shift.astype(np.float32)
        rgb = np.asarray(cv2.cvtColor(np.asarray(lab, np.float32), cv2.COLOR_LAB2RGB))
        return np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8)


@dataclass
class DriftMeter:
    """Sees every frame of a clip in order. `bounds` are the windows' first and last (exclusive) frames."""

    bounds: list[tuple[int, int]]
    match: ColourMatch | None = None
    _seen: int = 0
    _first: np.ndarray | None = None
    _first_sharpness: float = 0.0
    _first_landmarks: np.ndarray | None = None
    _colours: dict[int, list[np.ndarray]] = field(default_factory=dict)
    _middles: dict[int, tuple[float, float]] = field(default_factory=dict)

    def see(self, frame: np.ndarray) -> np.ndarray:
        """Take the next frame in; returns it, colours matched where that was asked for."""
        frame = frame if self.match is None else self.match.apply(frame)
        colour = mean_lab(frame)
        if self._first is None:
            self._first, self._first_sharpness = colour, sharpness(frame)
            self._first_landmarks = _landmarks(frame)
        for index, (start, stop) in enumerate(self.bounds):
            if start <= self._seen < stop:
                self._colours.setdefault(index, []).append(colour)
            if self._seen == (start + stop) // 2:
                self._middles[index] = (sharpness(frame), self._identity(frame))
        self._seen += 1
        return frame

    def windows(self) -> tuple[WindowDrift, ...]:
        """What each window was like; its sharpness and face are those of its middle frame."""
        assert self._first is not None
        rows = []
        for index, (sharp, identity) in sorted(self._middles.items()):
            start, stop = self.bounds[index]
            colour = float(np.linalg.norm(np.mean(self._colours[index], axis=0) - self._first))
            rows.append(
                WindowDrift(
                    start_frame=start,
                    stop_frame=stop,
                    colour=round(colour, 3),
                    sharpness=round(sharp / max(self._first_sharpness, 1e-9), 3),
                    identity=round(identity, 4),
                )
            )
        return tuple(rows)

    def _identity(self, frame: np.ndarray) -> float:
        landmarks = _landmarks(frame)
        if self._first_landmarks is None or landmarks is None:
            return 0.0
        return skull_distance(self._first_landmarks, landmarks)


def _landmarks(frame: np.ndarray) -> np.ndarray | None:
    faces = detect_faces(frame)
    return faces[0].landmarks_px if faces else None


def _lab(frame: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))


def _shrunk(frame: np.ndarray, side_px: int) -> np.ndarray:
    scale = side_px / max(frame.shape[:2])
    return frame if scale >= 1 else cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
