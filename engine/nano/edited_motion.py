"""A clip's motion as a `MotionEdit` wants it: nothing is sampled again, what was decoded is scaled.

Works on the decoded motion of the control points and on the tracks of a `Life`, in the head-normalised frame of
`engine.nano.face_motion`; knows nothing about latents, pictures or drawing.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d, label

from engine.contract.motion_edit import MotionEdit
from engine.contract.variants import FPS
from engine.nano.life import BLINK_COURSE, BROWS, CLOSING, CORNERS, DROOP, EYE_RADIUS_MM, GAZE, HELD_GAZE, POSE, Life

WIDEST = 0.55
"""Of the mouth's width: no scaling opens the lips further, what was sampled may."""
_BROWS = (70, 105, 107, 52, 10, 109, 338, 151, 300, 334, 336, 282)
_CORNERS = (61, 291, 78, 308)
_CHEEKS = (50, 205, 280, 425)
SMILE_SIGMA_FRAMES = 8
"""A smile is what the corners do more slowly than syllables: this Gaussian's share of their motion."""
UPPER_LIP, LOWER_LIP = 13, 14
_CLOSES = {91: 1, 84: 1, 314: 1, 321: 1, 88: 1, 87: 1, 317: 1, 318: 1, 14: 1, 17: 1, 18: 0.9} | {
    **{152: 0.7, 176: 0.7, 400: 0.7},
    **{172: 0.4, 397: 0.4, 136: 0.2, 365: 0.2},
}
"""How much the lower face follows where the lower lip is moved: lip, chin, jaw."""
MOST_GAZE_MM = EYE_RADIUS_MM * np.sin(np.radians((13, 7)))
ROOM_FRAMES = 20
"""Between two blinks there must be so much room for another."""
_SHUT_FROM = BLINK_COURSE.index(1.0)


def edited_points(
    motion: np.ndarray,
    edit: MotionEdit,
    shape: np.ndarray,
    *,
    ridge: np.ndarray,
    control_points: np.ndarray,
    is_lip: np.ndarray,
) -> np.ndarray:
    """The control points' `motion` [F, 60, 2] in face heights as `edit` wants it; `shape` [468, 3] is the still face.

    `ridge` [120, 936] maps control points to vertices, `is_lip` [60] marks the lower face. The lips' gap becomes
    exactly `mouth` per cent of what it was, so that lips that meet still meet and never cross; it stays below WIDEST of
    the mouth's width unless it was wider before.
    """
    index = {int(point): number for number, point in enumerate(control_points)}
    brows, corners, cheeks = ([index[point] for point in points] for points in (_BROWS, _CORNERS, _CHEEKS))
    mouth, smile = edit.mouth / 100, edit.smile / 100
    edited = motion.copy()
    edited[:, brows] *= edit.brows / 100
    edited[:, is_lip] *= mouth
    slow = gaussian_filter1d(motion, SMILE_SIGMA_FRAMES, axis=0, mode="nearest")
    edited[:, corners] += (smile - mouth) * slow[:, corners]
    edited[:, cheeks] += (smile - 1) * slow[:, cheeks]

    opens = ridge[:, 2 * LOWER_LIP + 1] - ridge[:, 2 * UPPER_LIP + 1]
    widens = ridge[:, 2 * 291] - ridge[:, 2 * 61]
    gap = shape[LOWER_LIP, 1] - shape[UPPER_LIP, 1] + motion.reshape(len(motion), -1) @ opens
    width = shape[291, 0] - shape[61, 0] + motion.reshape(len(motion), -1) @ widens
    wanted = np.where(gap < 0, min(mouth, 1.0) * gap, np.minimum(mouth * gap, np.maximum(gap, WIDEST * width)))
    now = shape[LOWER_LIP, 1] - shape[UPPER_LIP, 1] + edited.reshape(len(motion), -1) @ opens
    lower = np.zeros((len(control_points), 2))
    for point, share in _CLOSES.items():
        lower[index[point], 1] = share
    edited += lower * ((wanted - now) / (lower.ravel() @ opens))[:, None, None]
    return edited.astype(motion.dtype)


def edited_life(life: Life, edit: MotionEdit) -> Life:
    """`life` with its head, blinks, brows, gaze and corners as `edit` wants them, and the blinks that it adds."""
    tracks = life.tracks.copy()
    head, gaze = edit.head / 100, edit.gaze / 100
    # The eyes hold still against a head that turns; of a turn that is not drawn there is nothing to hold against.
    unheld = EYE_RADIUS_MM * np.sin(HELD_GAZE * (1 - head) * tracks[:, :2])
    tracks[:, GAZE] = gaze * np.clip(tracks[:, GAZE] + unheld, -MOST_GAZE_MM, MOST_GAZE_MM)
    tracks[:, DROOP] *= gaze
    tracks[:, POSE] *= head
    tracks[:, BROWS] *= edit.brows / 100
    tracks[:, CORNERS] *= edit.smile / 100
    tracks[:, CLOSING] = _as_often(tracks[:, CLOSING], edit.blink / 100)
    for moment_s in edit.blink_at_s:
        _blink(tracks[:, CLOSING], round(moment_s * FPS))
    return replace(life, tracks=tracks, own_sway=life.own_sway * head)


def _as_often(closing: np.ndarray, share: float) -> np.ndarray:
    """The lids' `closing` [F] with `share` of its blinks, in [0, 1.5]: some left out, or some more in the gaps."""
    numbers, count = label(closing > 0)
    kept = closing.copy()
    for blink in range(1, count + 1):
        asked = np.floor(blink * share + 0.5) - np.floor((blink - 1) * share + 0.5)
        if asked == 0:
            kept[numbers == blink] = 0.0
        elif asked == 2:
            end = int(np.flatnonzero(numbers == blink)[-1])
            following = np.flatnonzero(numbers == blink + 1)
            begin = int(following[0]) if len(following) else len(closing)
            if begin - end >= 2 * ROOM_FRAMES:
                _blink(kept, (end + begin) // 2)
    return kept


def _blink(closing: np.ndarray, frame: int) -> None:
    """Close the lids `closing` [F], in place, so that they are shut at `frame`."""
    for offset, share in enumerate(BLINK_COURSE, start=frame - _SHUT_FROM):
        if 0 <= offset < len(closing):
            closing[offset] = max(closing[offset], share)
