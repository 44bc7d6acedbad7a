"""Synthetic faces: a mean face, endless other faces round it, and the expressions that all of them share.

An expression is a handful of vertices and where they go; the rest of the mesh follows smoothly (the biharmonic
interpolation on the mesh's own edges, so that upper and lower lip, which no edge joins, part freely). Everything in
the head-normalised frame of `engine.nano.face_motion`: unit = face height, x to the picture's right, y down.
"""

from functools import cache

import matplotlib
import numpy as np
from matplotlib.image import imread
from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION
from skimage.data import astronaut

from engine.media.face import find_face
from engine.nano.face_mesh import FACE_OVAL, INNER_LIPS
from engine.nano.face_motion import CHIN, CONTROL_POINTS, EARS, HAIRLINE, STABLE_POINTS, VERTICES
from engine.nano.mouth_palette import LIP_LAYERS, OUTER_LIPS

UPPER_INNER, LOWER_INNER = (np.array(chain[1:-1]) for chain in INNER_LIPS)
UPPER_RINGS, LOWER_RINGS = (np.array([layer[lip][1:-1] for layer in (*LIP_LAYERS, OUTER_LIPS)]) for lip in range(2))
"""From the inner rim outwards, point for point across from the inner lips."""
RIGHT_CORNER, LEFT_CORNER = np.array([78, 62, 76, 61]), np.array([308, 292, 306, 291])
EYES = (
    (np.array([246, 161, 160, 159, 158, 157, 173]), np.array([7, 163, 144, 145, 153, 154, 155]), (33, 133)),
    (np.array([466, 388, 387, 386, 385, 384, 398]), np.array([249, 390, 373, 374, 380, 381, 382]), (263, 362)),
)
BROWS = (
    np.array([70, 63, 105, 66, 107, 46, 53, 52, 65, 55]),
    np.array([300, 293, 334, 296, 336, 276, 283, 282, 295, 285]),
)
OVAL = np.array(FACE_OVAL)
UPPER_FACE = np.array([168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 10, 151, 9, 8, 116, 345, 50, 280, 33, 133, 362, 263])

JAW_OPEN = 0.115
"""The inner lips' distance at aperture 1, in face heights: about 0.4 of a mouth's width."""
JAW_SHARE_DOWN = 0.86
"""Of the opening; the rest lifts the upper lip."""

EXPRESSIONS = (
    "jaw", "spread", "round", "bite", "smile", "frown", "blink_right", "blink_left", "brow_right", "brow_left",
    "furrow", "squint", "press",
)  # fmt: skip


@cache
def mean_face() -> np.ndarray:
    """[468, 3]: the mean of two public-domain portraits (a US Navy and a NASA photograph), its lips closed."""
    navy = imread(f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg")
    faces = np.stack(
        [_unturned(find_face(np.ascontiguousarray(picture))[0].landmarks_px) for picture in (navy, astronaut())]
    )
    face = faces.mean(0)
    middle = (face[UPPER_INNER] + face[LOWER_INNER]) / 2
    face[UPPER_INNER] = face[LOWER_INNER] = middle
    return face.astype(np.float32)


def _unturned(landmarks_px: np.ndarray) -> np.ndarray:
    across = landmarks_px[EARS[1]] - landmarks_px[EARS[0]]
    across = across / np.linalg.norm(across)
    down = landmarks_px[CHIN] - landmarks_px[HAIRLINE]
    down = down - across * (down @ across)
    height = np.linalg.norm(down)
    down = down / height
    axes = np.stack([across, down, np.cross(across, down)])
    return (landmarks_px - landmarks_px[list(EARS)].mean(0)) @ axes.T / height


@cache
def _smooth_operator() -> np.ndarray:
    laplacian = np.zeros((VERTICES, VERTICES))
    for a, b in FACEMESH_TESSELATION:
        laplacian[a, b] = laplacian[b, a] = -1
    np.fill_diagonal(laplacian, -laplacian.sum(1))
    return laplacian @ laplacian


def follow(anchors: dict[int, tuple[float, float]]) -> np.ndarray:
    """Displacements [468, 2] of the whole mesh where the `anchors` are displaced by (x, y)."""
    fixed = np.array(sorted(anchors))
    free = np.setdiff1d(np.arange(VERTICES), fixed)
    field = np.zeros((VERTICES, 2))
    field[fixed] = [anchors[point] for point in fixed]
    operator = _smooth_operator()
    field[free] = np.linalg.solve(operator[np.ix_(free, free)], -operator[np.ix_(free, fixed)] @ field[fixed])
    return field


@cache
def expressions() -> np.ndarray:
    """[13, 468, 2]: the mesh's displacement at full strength of each of EXPRESSIONS."""
    return np.stack([_jaw(), _spread(), _round(), _bite(), _smile(), _frown(), _blink(0), _blink(1), _brow(0), _brow(1),
                     _furrow(), _squint(), _press()]).astype(np.float32)  # fmt: skip


def _still(*groups: np.ndarray) -> dict[int, tuple[float, float]]:
    return {int(point): (0.0, 0.0) for group in groups for point in group}


def _along_lip(points: np.ndarray) -> np.ndarray:
    """1 in the middle of the lip, falling to 0 towards the corners."""
    face = mean_face()
    middle = (face[78, 0] + face[308, 0]) / 2
    half = (face[308, 0] - face[78, 0]) / 2
    return np.clip(1 - ((face[points, 0] - middle) / half) ** 2, 0, 1) ** 0.6


def _lips(upper_y: float, lower_y: float, corner: tuple[float, float]) -> dict[int, tuple[float, float]]:
    """Lips moved by `upper_y` and `lower_y` in the middle, corners by `corner` (x outwards); between, a bow."""
    anchors: dict[int, tuple[float, float]] = {}
    for inner, rings, middle_y in ((UPPER_INNER, UPPER_RINGS, upper_y), (LOWER_INNER, LOWER_RINGS, lower_y)):
        for row in (inner, *rings):
            for point, share in zip(row, _along_lip(row), strict=True):
                side = np.sign(mean_face()[point, 0] - mean_face()[13, 0])
                anchors[int(point)] = (side * corner[0] * (1 - share), middle_y * share + corner[1] * (1 - share))
    anchors |= {int(p): (-corner[0], corner[1]) for p in RIGHT_CORNER}
    anchors |= {int(p): (corner[0], corner[1]) for p in LEFT_CORNER}
    return anchors


def _jaw() -> np.ndarray:
    down = JAW_OPEN * JAW_SHARE_DOWN
    anchors = _still(UPPER_FACE, EYES[0][0], EYES[0][1], EYES[1][0], EYES[1][1])
    anchors |= _lips(down - JAW_OPEN, down, (-0.012, 0.25 * down))
    shares = {152: 0.8, 148: 0.79, 377: 0.79, 176: 0.76, 400: 0.76, 149: 0.7, 378: 0.7, 150: 0.6, 379: 0.6, 136: 0.47,
              365: 0.47, 172: 0.33, 397: 0.33, 58: 0.18, 288: 0.18, 132: 0.07, 361: 0.07, 93: 0, 323: 0, 234: 0, 454: 0,
              18: 0.93, 200: 0.86, 199: 0.83, 175: 0.81}  # fmt: skip
    anchors |= {point: (0.0, share * down) for point, share in shares.items()}
    return follow(anchors)


def _spread() -> np.ndarray:
    return follow(_still(UPPER_FACE, OVAL) | _lips(0.002, -0.002, (0.022, 0.0)))


def _round() -> np.ndarray:
    return follow(_still(UPPER_FACE, OVAL) | _lips(-0.006, 0.006, (-0.034, 0.0)))


def _bite() -> np.ndarray:
    anchors = _still(UPPER_FACE, OVAL) | _lips(0.0, 0.0, (0.0, 0.0))
    for row, y in zip((LOWER_INNER, *LOWER_RINGS), (-0.006, -0.012, -0.016, -0.014), strict=True):
        anchors |= {int(p): (0.0, y * s) for p, s in zip(row, _along_lip(row), strict=True)}
    return follow(anchors)


def _smile() -> np.ndarray:
    cheeks = {50: (-0.004, -0.012), 280: (0.004, -0.012), 205: (-0.012, -0.018), 425: (0.012, -0.018)}
    return follow(_still(np.setdiff1d(UPPER_FACE, [50, 280]), OVAL) | _lips(0.002, 0.004, (0.03, -0.028)) | cheeks)


def _frown() -> np.ndarray:
    return follow(_still(UPPER_FACE, OVAL) | _lips(0.0, 0.0, (0.004, 0.02)))


def _blink(side: int) -> np.ndarray:
    upper, lower, corners = EYES[side]
    face = mean_face()
    opening = face[lower, 1] - face[upper, 1]
    others = np.concatenate([EYES[1 - side][0], EYES[1 - side][1], OVAL, BROWS[side], UPPER_FACE, np.array(corners)])
    anchors = _still(others)
    anchors |= {int(p): (0.0, 0.88 * gap) for p, gap in zip(upper, opening, strict=True)}
    anchors |= {int(p): (0.0, -0.12 * gap) for p, gap in zip(lower, opening, strict=True)}
    return follow(anchors)


def _brow(side: int) -> np.ndarray:
    lids = [*EYES[0][:2], *EYES[1][:2]]
    anchors = _still(*lids, np.setdiff1d(UPPER_FACE, [10, 151, 9, 8]), np.array([10]), BROWS[1 - side])
    return follow(anchors | {int(point): (0.0, -0.035) for point in BROWS[side]})


def _furrow() -> np.ndarray:
    lids = [*EYES[0][:2], *EYES[1][:2]]
    anchors = _still(*lids, np.setdiff1d(UPPER_FACE, [151, 9, 8]), np.array([10, 70, 300, 46, 276]))
    return follow(anchors | {107: (0.012, 0.014), 55: (0.012, 0.014), 336: (-0.012, 0.014), 285: (-0.012, 0.014)})


def _squint() -> np.ndarray:
    anchors = _still(OVAL, np.setdiff1d(UPPER_FACE, [50, 280]), BROWS[0], BROWS[1])
    for upper, lower, _ in EYES:
        gap = mean_face()[lower, 1] - mean_face()[upper, 1]
        anchors |= {int(p): (0.0, 0.15 * g) for p, g in zip(upper, gap, strict=True)}
        anchors |= {int(p): (0.0, -0.3 * g) for p, g in zip(lower, gap, strict=True)}
    return follow(anchors)


def _press() -> np.ndarray:
    anchors = _still(UPPER_FACE, OVAL) | _lips(0.0, 0.0, (0.004, 0.0))
    for row, y in zip((*UPPER_RINGS, *LOWER_RINGS), (0.003, 0.006, 0.009, -0.003, -0.006, -0.009), strict=True):
        anchors |= {int(p): (0.0, y * s) for p, s in zip(row, _along_lip(row), strict=True)}
    return follow(anchors)


def random_face(random: np.random.Generator) -> np.ndarray:
    """Somebody else, [468, 2], lips closed: other proportions, and smooth bumps that are mostly symmetric."""
    face = mean_face()[:, :2].astype(np.float64)
    face = face * np.exp(random.normal(0, [0.06, 0.03]))
    bumps = np.zeros_like(face)
    for _ in range(10):
        centre = face[random.integers(VERTICES)]
        push = random.normal(0, 0.018, 2)
        width = random.uniform(0.08, 0.25)
        for mirror, share in ((1.0, 1.0), (-1.0, random.uniform(0.7, 1.0))):
            near = np.exp(-((face - centre * [mirror, 1]) ** 2).sum(1, keepdims=True) / (2 * width**2))
            bumps += near * push * [mirror, 1] * share
    face = face + bumps
    for row_upper, row_lower in zip(UPPER_RINGS, LOWER_RINGS, strict=True):
        middle = face[UPPER_INNER]
        face[row_upper] = middle + (face[row_upper] - middle) * random.uniform(0.8, 1.25)
        face[row_lower] = middle + (face[row_lower] - middle) * random.uniform(0.8, 1.25)
    return _normalised(face).astype(np.float32)


def _normalised(face: np.ndarray) -> np.ndarray:
    """Origin and scale as `engine.nano.face_motion.fit_pose` would see them."""
    mean = mean_face()[STABLE_POINTS, :2]
    mean = mean - mean.mean(0)
    stable = face[STABLE_POINTS]
    scale = np.sum((stable - stable.mean(0)) * mean) / np.sum(mean**2)
    return (face - face[list(EARS)].mean(0)) / scale


def eye_opening(face: np.ndarray) -> np.ndarray:
    """How far the eyes of `face` [468, ≥2] open, against the mean face's: [2], right and left."""
    gaps = [[np.mean(f[lower, 1] - f[upper, 1]) for upper, lower, _ in EYES] for f in (face, mean_face())]
    return np.array(gaps[0]) / np.array(gaps[1])


def ridge_map(random: np.random.Generator, samples: int = 4000, strength: float = 1e-3) -> np.ndarray:
    """The ridge regression [120, 936] from the control points' displacement to the whole mesh's.

    Fitted on random mixtures of the expressions, so that what it draws is always a mixture of them.
    """
    basis = expressions().reshape(len(EXPRESSIONS), -1)
    mixtures = random.normal(0, 1, (samples, len(EXPRESSIONS))) @ basis
    points = mixtures.reshape(samples, VERTICES, 2)[:, CONTROL_POINTS].reshape(samples, -1)
    gram = points.T @ points
    noise = strength * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.linalg.solve(gram + noise, points.T @ mixtures).astype(np.float32)
