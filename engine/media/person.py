"""The person in a still picture: how much of every pixel is theirs, and what the picture would be without them.

Built on the selfie segmentation that MediaPipe bundles, sharpened at the picture's own edges. Knows nothing about
models or motion.
"""

import functools
import threading
from typing import Any

import cv2
import numpy as np

from engine.media.face import quiet_stderr

SEEN = 0.5
LEAST_OF_FACE = 0.92
"""Share of the face that must be the person's for the segmentation to be believed: drawings often fail it."""
MOST_OF_PICTURE = 0.97
EDGE_OF_FACE = 0.03
"""Half the width of the soft edge, in face heights."""
MATTE_SIDE_PX = 720
"""Larger pictures are segmented at this longer side: the network sees 256 px in any case."""
PLATE_SIDE_PX = 240
"""The longer side at which what lies behind the person is made up; only a narrow seam of it is ever seen."""
RIM_GAIN = 5.0
"""From this share of the matte's inverse on, its rim may be made as dense as the colours need."""
_LOCK = threading.Lock()


def person_matte(picture: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray | None:
    """Share of each pixel of `picture` uint8 RGB [H, W, 3] that is of the face's owner, float32 [H, W] in [0, 1].

    `landmarks_px` [468, 3] is their face. None where no person is told from a background.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, MATTE_SIDE_PX / max(height, width))
    if scale < 1:
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matte = person_matte(small, landmarks_px * scale)
        return None if matte is None else np.asarray(cv2.resize(matte, (width, height), interpolation=cv2.INTER_LINEAR))
    coarse = _segmented(picture)
    face_height_px = float(np.linalg.norm(landmarks_px[152, :2] - landmarks_px[10, :2]))
    hull = cv2.convexHull(landmarks_px[:, :2].astype(np.float32)).astype(np.int32)
    face = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillConvexPoly(face, hull, (1,))
    if not face.any() or coarse[face > 0].mean() < LEAST_OF_FACE:
        return None
    _, parts = cv2.connectedComponents((coarse > SEEN).astype(np.uint8))
    owner = int(np.bincount(parts[face > 0]).argmax())
    reach = max(1, round(EDGE_OF_FACE * face_height_px))
    near = cv2.dilate((parts == owner).astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    guide = picture.astype(np.float32) / 255
    fine = cv2.ximgproc.guidedFilter(guide, coarse * near, 2 * reach, 1e-3)
    # A little wide: a rim of background that moves along is seen less than a rim of hair that stays.
    matte = np.clip((fine - 0.12) / 0.6, 0, 1) * near
    matte = cv2.blur(np.maximum(matte, face).astype(np.float32), (3, 3))
    return None if (matte > SEEN).mean() > MOST_OF_PICTURE else matte.astype(np.float32)


def plate(picture: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """`picture` without the person of `matte`, uint8 RGB: what is behind them is carried on from round about."""
    scale = min(1.0, PLATE_SIDE_PX / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    seen = cv2.resize(matte, small.shape[1::-1], interpolation=cv2.INTER_AREA) > 0.02
    gone = cv2.dilate(seen.astype(np.uint8), np.ones((5, 5), np.uint8))
    behind = cv2.resize(cv2.inpaint(small, gone, 3, cv2.INPAINT_TELEA), picture.shape[1::-1])
    near = cv2.blur(cv2.dilate(gone, np.ones((3, 3), np.uint8)).astype(np.float32), (3, 3))
    hidden = np.maximum(cv2.resize(near, picture.shape[1::-1]), matte > 0.02)[..., None].astype(np.float32)
    return np.rint(picture + (behind.astype(np.float32) - picture) * hidden).astype(np.uint8)


def layers(picture: np.ndarray, matte: np.ndarray, behind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The person as uint8 RGBA [H, W, 4], colours multiplied by alpha, and what is behind them, uint8 RGB [H, W, 3].

    The one over the other is `picture`, but for noise at the edge, whose colour is told apart into the person's and the
    background's. Where the matte is too thin for that, hair that it took for background, it is made denser.
    """
    colours, behind = picture.astype(np.float32), behind.astype(np.float32)
    darker, brighter = 1 - colours / np.maximum(behind, 1), (colours - behind) / np.maximum(255 - behind, 1)
    needed = cv2.blur(np.maximum(darker, brighter).max(2), (3, 3)) * np.minimum(1, RIM_GAIN * matte)
    alpha = np.rint(255 * np.clip(np.maximum(matte, needed), 0, 1))[..., None]
    behind = np.where(alpha == 0, colours, behind)
    person = np.clip(np.rint(colours - behind * (1 - alpha / 255)), 0, alpha)
    return np.ascontiguousarray(np.dstack([person, alpha]).astype(np.uint8)), behind.astype(np.uint8)


def _segmented(picture: np.ndarray) -> np.ndarray:
    """The network's own answer, float32, of the picture at its size."""
    with _LOCK:
        return np.asarray(_segmenter().process(picture).segmentation_mask, np.float32)


@functools.cache
def _segmenter() -> Any:
    with quiet_stderr():
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

        graph = SelfieSegmentation(model_selection=0)
        graph.process(np.zeros((256, 256, 3), np.uint8))
    return graph
