"""How far a mouth goes, in measures of its face: lips and corners as people's do, open within bounds.

What nano has learned from synthetic faces moves lips up and down well and sideways too little, and opens a small mouth
as far as a large one. Works in place on the head-normalised motion of `engine.nano.face_motion`; knows nothing about
latents or drawing.
"""

import numpy as np

SIDEWAYS = 1.3
"""The deviation of the mouth's width in filmed talk over nano's is 1.9; half of the way, as a ratio."""
CORNER_DROP = 0.13
"""How much further the corners sink per opening: a jaw takes them along by .35, nano's synthetic faces by .22."""
KNEE, WIDEST = 0.24, 0.42
"""Of the mouth's width at rest: up to here an opening stays as it is, and no opening passes there."""

_UPPER, _LOWER = (82, 13, 312), (87, 14, 317)
_CORNERS = (61, 291)
_INNER_CORNERS = (78, 308)


def fit_mouth(motion: np.ndarray, shape: np.ndarray, control_points: np.ndarray, lip_points: np.ndarray) -> None:
    """Bring lips and jaw into the range of the face `shape` [468, 3], in place.

    `motion` [F, 60, 2] is that of `control_points` in face heights, y down; `lip_points` [60] tells which of them
    belong to lips and jaw.
    """
    motion[:, lip_points, 0] *= SIDEWAYS
    index = {int(point): number for number, point in enumerate(control_points)}
    upper, lower = ([index[point] for point in points] for points in (_UPPER, _LOWER))
    rest = float(np.mean(shape[list(_LOWER), 1] - shape[list(_UPPER), 1]))
    width = float(np.linalg.norm(shape[_CORNERS[1], :2] - shape[_CORNERS[0], :2]))
    added = motion[:, lower, 1].mean(1) - motion[:, upper, 1].mean(1)
    opening = rest + added
    # A mouth that is open wider in the picture than any speech would open it is not closed by this.
    knee, room = max(KNEE * width, rest), max((WIDEST - KNEE) * width, 1e-6)
    bounded = knee + room * np.tanh(np.maximum(opening - knee, 0) / room)
    share = np.where(opening > knee, (bounded - rest) / np.maximum(added, 1e-6), 1.0)
    motion[:, lip_points, 1] *= share[:, None]
    corners = [index[point] for point in (*_CORNERS, *_INNER_CORNERS)]
    motion[:, corners, 1] += CORNER_DROP * np.maximum(share * added, 0)[:, None]
