"""Whether a picture shows the mouth that will be moved: a mask, a scarf or a hand in front of it shows no lips.

FaceMesh puts lips where they would be and says nothing of it, so the picture is asked: lips differ from the skin round
them, and there is a dark line where they meet. Knows nothing about models.
"""

import cv2
import numpy as np

from engine.media.face import Face, several_faces_notice

# fmt: off
_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
_ROUND = (164, 167, 393, 18, 83, 313, 200, 92, 322, 106, 335, 43, 273)
# fmt: on
_EYE_CORNERS = (33, 263)
LEAST_CONTRAST, LEAST_LINE = 8.0, 18.0
"""CIE Lab distances that lips keep from the skin round them, and by how much their line is darker.

Of nine portraits, one of them drawn, they are 12 to 33 and 35 to 55; of the same under white, blue and black cloth at
most 6 and 13."""
LEAST_FACE_PX = 40.0
"""Outer eye corners nearer to each other show too little of a mouth to tell."""
COVERED_NOTICE = (
    "No lips are seen where the mouth is: if something covers it, a mouth is drawn over that. Take a picture that "
    "shows it."
)


def covered_mouth_notice(picture: np.ndarray, landmarks_px: np.ndarray) -> str | None:
    """What to say of `picture` uint8 RGB [H, W, 3] where the face's mouth is covered; None where lips are seen.

    `landmarks_px` [468, 3] is that face.
    """
    points = landmarks_px[:, :2].astype(np.float64)
    corners_px = float(np.linalg.norm(points[_EYE_CORNERS[0]] - points[_EYE_CORNERS[1]]))
    if corners_px < LEAST_FACE_PX:
        return None
    x0, y0 = np.floor(points.min(0)).astype(int).clip(0)
    x1, y1 = np.ceil(points.max(0)).astype(int) + 1
    seen = picture[y0:y1, x0:x1]
    if min(seen.shape[:2]) < LEAST_FACE_PX:
        return None
    lab = cv2.cvtColor(seen.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    points -= [x0, y0]
    reach = max(1, round(0.015 * corners_px))
    lips = 0.5 * (points[list(_OUTER)] + points[list(_INNER)])[2:-2]
    lip, skin = (np.median(_colours(lab, places, reach), 0) for places in (lips, points[list(_ROUND)]))
    mouth = np.zeros(lab.shape[:2], np.uint8)
    cv2.fillPoly(mouth, [np.round(points[list(_OUTER)]).astype(np.int32)], (1,))
    line = float(skin[0] - np.percentile(lab[mouth > 0, 0], 3)) if mouth.any() else LEAST_LINE
    is_seen = float(np.linalg.norm(lip - skin)) >= LEAST_CONTRAST or line >= LEAST_LINE
    return None if is_seen else COVERED_NOTICE


def portrait_notice(picture: np.ndarray, faces: list[Face]) -> str | None:
    """What to say of a picture and the faces found in it, the taken one first."""
    said = [several_faces_notice(faces), *(covered_mouth_notice(picture, face.landmarks_px) for face in faces[:1])]
    return " ".join(filter(None, said)) or None


def _colours(lab: np.ndarray, places: np.ndarray, reach: int) -> np.ndarray:
    """Median colours of squares round the places [N, 2] that lie in the picture: [N, 3]."""
    height, width = lab.shape[:2]
    x, y = np.clip(places.astype(int), 0, [width - 1, height - 1]).T
    low = np.maximum(np.column_stack([x, y]) - reach, 0)
    squares = [lab[b : y_ + reach + 1, a : x_ + reach + 1] for (a, b), x_, y_ in zip(low, x, y, strict=True)]
    return np.array([np.median(square.reshape(-1, 3), 0) for square in squares])
