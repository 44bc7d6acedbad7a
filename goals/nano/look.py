"""One picture of many clips for a person to look at: faces, the mouth as it opens, and what moves, a row a clip.

A means of looking, not a measurement.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.media.face import detect_faces
from engine.media.video import read_video_frames
from trainer.metrics.liveliness import CORNERS, LIPS, FaceTracks

FACES, MOUTHS = 6, 6
TILE_PX = 150
TRACKS_PX = 420
LOWEST_OPENING = 0.3
"""Mouths are shown from this quantile of the opening up to the widest."""
Colour = tuple[int, int, int]


class LookSheet:
    """Rows of clips, each made as it is added."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.uint8]] = []

    def add(self, name: str, video: Path, tracks: FaceTracks) -> None:
        """A row of `video`, whose face was tracked at its own rate."""
        opening = tracks.shape_mm[:, LIPS[1], 1] - tracks.shape_mm[:, LIPS[0], 1]
        frames = list(read_video_frames(video))
        spread = np.linspace(0, len(frames) - 1, FACES).astype(int)
        order = np.argsort(opening[: len(frames)])
        widest = [order[round(q * (len(order) - 1))] for q in np.linspace(LOWEST_OPENING, 1, MOUTHS)]
        tiles = [_crop(frames[at], face=True) for at in spread] + [_crop(frames[at], face=False) for at in widest]
        drawn = _tracks(tracks, opening)
        cv2.putText(drawn, name[:40], (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
        self._rows.append(np.hstack([*tiles, drawn]))

    def write(self, path: Path) -> None:
        """The sheet as a JPEG."""
        if self._rows:
            cv2.imwrite(str(path), np.vstack(self._rows)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def _crop(frame: NDArray[np.uint8], *, face: bool) -> NDArray[np.uint8]:
    """The face, or the mouth, as a square tile; black where no face is found."""
    found = detect_faces(frame)
    if not found:
        return np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    points = found[0].landmarks_px[:, :2]
    of = points if face else points[list(CORNERS)]
    middle = (of.max(0) + of.min(0)) / 2
    half = float(np.ptp(of, axis=0).max()) * (0.65 if face else 0.75)
    size = max(2, round(2 * half))
    x, y = (middle - half).round().astype(int)
    padded = cv2.copyMakeBorder(frame, size, size, size, size, cv2.BORDER_CONSTANT)
    square = padded[y + size : y + 2 * size, x + size : x + 2 * size]
    return np.asarray(cv2.resize(square, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _tracks(tracks: FaceTracks, opening: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The mouth's opening (white, 0 to 20 mm), lids (green, 0 to 15), brows (red, their range 10), yaw (blue) and
    pitch (yellow), ±12 degrees."""
    drawn = np.full((TILE_PX, TRACKS_PX, 3), 24, np.uint8)
    brows = tracks.brows().mean(1)
    lines: list[tuple[NDArray[np.floating], float, float, Colour]] = [
        (opening, 0, 20, (255, 255, 255)),
        (tracks.lids().mean(1), 0, 15, (90, 220, 120)),
        (brows - np.median(brows), -5, 5, (240, 100, 90)),
        (tracks.pose[:, 0], -12, 12, (90, 150, 255)),
        (tracks.pose[:, 1], -12, 12, (240, 220, 90)),
    ]
    for values, low, high, colour in lines:
        x = np.linspace(0, TRACKS_PX - 1, len(values))
        y = (1 - np.clip((values - low) / (high - low), 0, 1)) * (TILE_PX - 1)
        cv2.polylines(drawn, [np.stack([x, y], 1).round().astype(np.int32)], False, colour, 1, cv2.LINE_AA)
    return drawn
