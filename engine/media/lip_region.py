"""The lower face: the region that lip-sync may change, and beyond which every pixel of the source stays.

The whole lower face from the tip of the nose to below the chin, because a jaw outside it would give the answer away.
Boxes are fractions xyxy of the frame; pixel values carry `_px`. Knows nothing about models.
"""

import math

import cv2
import numpy as np

from engine.media.face import Box

NOSE_TIP, CHIN = 1, 152
CHEEKS = (172, 397)
"""The corners of the jaw."""
BELOW_CHIN = 0.30
SIDEWAYS = 0.12
"""How far the box goes beyond chin and jaw, as a share of the height and width between the landmarks."""
FEATHER = 0.12
"""Width of the soft edge, inside the box, as a share of its height."""


def lip_box(landmarks_px: np.ndarray, shape: tuple[int, int]) -> Box:
    """The lower face's box from landmarks [468, 3] in a frame of `shape` (height, width), clipped to the frame."""
    top, bottom = float(landmarks_px[NOSE_TIP, 1]), float(landmarks_px[:, 1].max())
    left, right = float(landmarks_px[list(CHEEKS), 0].min()), float(landmarks_px[list(CHEEKS), 0].max())
    height, width = shape
    below, beside = BELOW_CHIN * (bottom - top), SIDEWAYS * (right - left)
    edges = (left - beside) / width, top / height, (right + beside) / width, (bottom + below) / height
    x0, y0, x1, y1 = (min(1.0, max(0.0, edge)) for edge in edges)
    return x0, y0, x1, y1


def follow(given: Box, first: Box, now: Box) -> Box:
    """The box `given` for the frame whose lower face was `first`, moved and scaled to where that is `now`."""
    moved = []
    for low, high in ((0, 2), (1, 3)):
        scale = (now[high] - now[low]) / (first[high] - first[low])
        moved.append([now[low] + (given[edge] - first[low]) * scale for edge in (low, high)])
    (x0, x1), (y0, y1) = ([min(1.0, max(0.0, edge)) for edge in pair] for pair in moved)
    return x0, y0, x1, y1


def feathered(box: Box, shape: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
    """The rows and columns that `box` covers, and how much of the new picture each of their pixels takes, in (0, 1].

    The weights are float32 [rows, columns, 1], 1 inside and falling to the box's edge along an ellipse-like border.
    """
    height, width = shape
    x0, y0, x1, y1 = box
    rows = slice(math.floor(y0 * height), max(math.floor(y0 * height) + 1, math.ceil(y1 * height)))
    columns = slice(math.floor(x0 * width), max(math.floor(x0 * width) + 1, math.ceil(x1 * width)))
    inside = np.zeros((rows.stop - rows.start + 2, columns.stop - columns.start + 2), np.uint8)
    centre = (inside.shape[1] // 2, inside.shape[0] // 2)
    corner = max(1, min(centre) // 2)
    cv2.rectangle(inside, (1 + corner, 1), (inside.shape[1] - 2 - corner, inside.shape[0] - 2), 1, cv2.FILLED)
    cv2.rectangle(inside, (1, 1 + corner), (inside.shape[1] - 2, inside.shape[0] - 2 - corner), 1, cv2.FILLED)
    for x in (1 + corner, inside.shape[1] - 2 - corner):
        for y in (1 + corner, inside.shape[0] - 2 - corner):
            cv2.circle(inside, (x, y), corner, (1,), cv2.FILLED)
    reach = max(1.0, FEATHER * inside.shape[0])
    weights = np.clip(cv2.distanceTransform(inside, cv2.DIST_L2, 3) / reach, 0, 1)[1:-1, 1:-1]
    return (rows, columns), (weights * weights * (3 - 2 * weights))[:, :, None].astype(np.float32)


def composite(source: np.ndarray, drawn: np.ndarray, box: Box) -> np.ndarray:
    """`drawn` inside the feathered `box`, `source` elsewhere bit for bit; uint8 RGB [H, W, 3], both of one size."""
    place, weights = feathered(box, (source.shape[0], source.shape[1]))
    mixed = source.copy()
    mixed[place] = np.rint(source[place] * (1 - weights) + drawn[place] * weights).astype(np.uint8)
    return mixed


def generated_cells(box: Box, rows: int, columns: int) -> np.ndarray:
    """The paper's M of lip-sync on a grid of tokens: float32 [rows, columns], 1 where `box` touches a cell."""
    x0, y0, x1, y1 = box
    cells = np.zeros((rows, columns), np.float32)
    cells[math.floor(y0 * rows) : math.ceil(y1 * rows), math.floor(x0 * columns) : math.ceil(x1 * columns)] = 1.0
    return cells
