"""How light a filmed mouth is inside: six numbers over the frames in which it is open, against the same face's skin.

A hole that is all dark, and one that is all teeth, both leave the bands that real talkers keep within. Works on frames
and their FaceMesh landmarks; knows nothing about models or how a mouth was drawn.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.metrics.fidelity import luma

INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
"""Round the opening, from the right corner over the upper lip."""
CHEEKS = (50, 280, 205, 425, 101, 330)
UPPER, LOWER = 13, 14
OUTER_EYE_CORNERS, EYE_CORNERS_MM = (33, 263), 90.0
OPEN_MM = 5.0
DARK, PALE = 0.2, 0.55
"""Below the first share of the skin's luminance it is a hole; above the second it is a tooth, or a tongue in light."""
SIDE_PX = 96
"""Openings are brought to this width, so that large pictures count no more than small ones."""

Inside = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class MouthLight:
    """Shares of the opening's area, and luminances over the cheeks'; medians over open frames."""

    dark: float
    pale: float
    top_pale: float
    """Of the upper third."""
    low_pale: float
    """Of the lower third."""
    median: float
    p95: float
    frames: int
    """How many were open by more than 5 mm."""


def mouth_light(frames: Iterable[NDArray[np.uint8]], faces: Iterable[NDArray[np.floating] | None]) -> MouthLight | None:
    """Of uint8 RGB frames [H, W, 3] and the landmarks [468, ≥ 2] that were seen in each; None where no mouth opens."""
    return over(mouth_inside(frame, face) for frame, face in zip(frames, faces, strict=True))


def over(insides: Iterable[Inside | None]) -> MouthLight | None:
    """The medians over the frames whose mouth is open; None where no mouth opens."""
    seen = [inside for inside in insides if inside is not None]
    if not seen:
        return None
    names = [each.name for each in fields(MouthLight)][:-1]
    return MouthLight(**dict(zip(names, np.median(seen, axis=0).tolist(), strict=True)), frames=len(seen))


def mouth_inside(frame: NDArray[np.uint8], landmarks_px: NDArray[np.floating] | None) -> Inside | None:
    """The six numbers of one frame, in the order of `MouthLight`; None where the mouth is shut or no face is seen."""
    if landmarks_px is None:
        return None
    face = landmarks_px[:, :2]
    px_per_mm = float(np.linalg.norm(face[OUTER_EYE_CORNERS[0]] - face[OUTER_EYE_CORNERS[1]])) / EYE_CORNERS_MM
    if np.linalg.norm(face[UPPER] - face[LOWER]) < OPEN_MM * px_per_mm:
        return None
    loop = face[list(INNER_LIPS)]
    across = loop[10] - loop[0]
    width = float(np.linalg.norm(across))
    if width < 1:
        return None
    # The mouth upright, its corners on a line, SIDE_PX wide.
    scale, angle = SIDE_PX / width, float(np.arctan2(across[1], across[0]))
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([SIDE_PX / 2, SIDE_PX / 2])
    shift = middle - turn @ loop.mean(0)
    upright = cv2.warpAffine(luma(frame), np.column_stack([turn, shift]), (SIDE_PX, SIDE_PX), flags=cv2.INTER_AREA)
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.fillPoly(mask, [np.round(16 * (loop @ turn.T + shift)).astype(np.int32)], (1,), shift=4)
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0  # the lips' own rims are not the inside
    y = np.nonzero(inside)[0]
    if len(y) < SIDE_PX:
        return None
    (height, width_px), picture = frame.shape[:2], luma(frame)
    x_skin, y_skin = np.clip(face[list(CHEEKS)].astype(int), 0, [width_px - 1, height - 1]).T
    skin = max(float(np.median(cv2.blur(picture, (5, 5))[y_skin, x_skin])), 1.0)
    values = upright[inside] / skin
    top, low = y < np.percentile(y, 33.3), y > np.percentile(y, 66.7)
    return (
        float((values < DARK).mean()),
        float((values > PALE).mean()),
        float((values[top] > PALE).mean()),
        float((values[low] > PALE).mean()),
        float(np.median(values)),
        float(np.percentile(values, 95)),
    )
