"""A life's tracks put on a face: brows and corners as control points, lids that follow the gaze and close.

Works in the head-normalised frame of `engine.nano.face_motion`; knows nothing about pictures, models or where the
tracks come from.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from engine.nano.face_mesh import EYE_CORNERS_MM, LEFT_EYE, OUTER_EYE_CORNERS, RIGHT_EYE
from engine.nano.life import BROWS, CLOSING, CORNERS, DROOP, Life

LID_PAIRS = ((160, 387), (158, 385), (144, 373), (153, 380))
"""Control points of the lids, right and left: two of the upper lid, two of the lower."""
UPPER_LID_PAIRS = 2
_LIDS = frozenset(point for pair in LID_PAIRS for point in pair)
CALM_FRAMES = 15
"""Twice the length of a blink."""

# Control points that take part, with their share of the motion up (right side, left side).
_BROW_SHARES = (((70, 0.8), (105, 1.0), (107, 0.9), (52, 0.7)), ((300, 0.8), (334, 1.0), (336, 0.9), (282, 0.7)))
_CORNER_SHARES = (((61, 1.0), (78, 0.9), (50, 0.15), (205, 0.35)), ((291, 1.0), (308, 0.9), (280, 0.15), (425, 0.35)))
_OUTWARDS = 0.5
"""Of a corner's rise."""

LOWER_LID_SHARE = 0.1
"""Of a closing eye's gap that the lower lid covers."""
_FOLDS = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
FOLD_SHARE = 0.22
"""Of a lid's way that the fold above it takes part in."""


def tie_lids(motion: np.ndarray, control_points: np.ndarray) -> None:
    """Both eyes close as far as the one that is more closed, in place: `motion` [F, 60, 2], y down. Nobody winks."""
    index = {int(point): number for number, point in enumerate(control_points)}
    for number, (right, left) in enumerate(LID_PAIRS):
        columns = [index[right], index[left]]
        most = motion[:, columns, 1].max(1) if number < UPPER_LID_PAIRS else motion[:, columns, 1].min(1)
        motion[:, columns, 1] = most[:, None]


def calm_lids(motion: np.ndarray, control_points: np.ndarray) -> None:
    """Take what is short out of the lids' motion [F, 60, 2], in place: a mood stays, a blink goes."""
    columns = [number for number, point in enumerate(control_points) if int(point) in _LIDS]
    rows = median_filter(motion[:, columns, 1], (CALM_FRAMES, 1), mode="nearest")
    motion[:, columns, 1] = gaussian_filter1d(rows, CALM_FRAMES / 6, axis=0, mode="nearest")


def per_mm(shape: np.ndarray) -> float:
    """Face heights in a mm of the face `shape` [468, 3], whose outer eye corners are 90 mm apart."""
    right, left = (shape[point] for point in OUTER_EYE_CORNERS)
    return float(np.linalg.norm(left - right)) / EYE_CORNERS_MM


def control_motion(life: Life, shape: np.ndarray, control_points: np.ndarray) -> np.ndarray:
    """What brows and corners add to the control points' motion, [F, 60, 2] in face heights."""
    added = np.zeros((len(life.tracks), len(control_points), 2), np.float32)
    index = {int(point): number for number, point in enumerate(control_points)}
    unit = per_mm(shape)
    for tracks, sides in ((life.tracks[:, BROWS], _BROW_SHARES), (life.tracks[:, CORNERS], _CORNER_SHARES)):
        for side, shares in enumerate(sides):
            for point, share in shares:
                added[:, index[point], 1] -= tracks[:, side] * share * unit
    for side, shares in enumerate(_CORNER_SHARES):
        for point, share in shares[:2]:
            out = (-1.0 if side == 0 else 1.0) * _OUTWARDS * share * unit
            added[:, index[point], 0] += out * life.tracks[:, CORNERS][:, side]
    return added


def move_lids(shapes: np.ndarray, life: Life) -> None:
    """Let the lids of `shapes` [F, 468, 3] droop and close, in place; the fold above follows a little."""
    droop = life.tracks[:, DROOP] * per_mm(shapes[0])
    closing = life.tracks[:, CLOSING][:, None, None]
    for (upper, lower), fold in zip((RIGHT_EYE, LEFT_EYE), _FOLDS, strict=True):
        upper_lid, lower_lid = list(upper[1:-1]), list(lower[1:-1])
        # The lid's middle goes all the way, its ends stay.
        bow = np.sin(np.linspace(0, np.pi, len(upper))[1:-1])
        sinks = np.zeros((len(shapes), len(upper_lid), 3))
        sinks[:, :, 1] = droop[:, None] * bow
        gap = shapes[:, lower_lid] - shapes[:, upper_lid] - sinks
        gap[:, :, 1] = np.maximum(gap[:, :, 1], 0)
        way = sinks + (1 - LOWER_LID_SHARE) * closing * gap
        shapes[:, upper_lid] += way
        shapes[:, lower_lid] -= LOWER_LID_SHARE * closing * gap
        shapes[:, list(fold), 1] += FOLD_SHARE * way[:, :, 1]
