"""The FaceMesh surface as a drawable mesh: its triangles, its openings, and rings around it that fade motion out.

Works on vertex positions only (pixels; x right, y down, z away from the camera); knows nothing about pictures, colours
or drawing. The paper has no such part: it belongs to nano, whose motion latents move these vertices.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

NUM_LANDMARKS = 468
Opening = tuple[tuple[int, ...], tuple[int, ...]]

# fmt: off
# FaceMesh indices. The oval runs once round the face from the forehead; every opening is a pair of chains that run
# from one corner to the other and share their ends, so that entry i of one lies across entry i of the other.
FACE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
             149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
INNER_LIPS = ((78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308), (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308))
RIGHT_EYE = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133))
LEFT_EYE = ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263))
OPENINGS = (INNER_LIPS, RIGHT_EYE, LEFT_EYE)
# Points that follow the skull whatever the face says: temples, sides, the bridge and root of the nose, eye corners.
SKULL = (127, 356, 234, 454, 93, 323, 162, 389, 21, 251, 168, 6, 197, 195, 5, 33, 133, 362, 263)
CHIN = (152, 175, 199, 148, 377)
OUTER_EYE_CORNERS = (33, 263)
EYE_CORNERS_MM = 90.0  # an adult's outer eye corners lie about this far apart: the scale of everything in mm
# fmt: on

# How far the outermost ring lies beyond the face oval, in face heights.
REACH_SIDE, REACH_UP, REACH_DOWN = 0.6, 0.7, 0.65
# Ring positions between the oval (0) and the outermost ring (1); close together where the profile bends.
RING_POSITIONS = (0.06, 0.14, 0.24, 0.36, 0.5, 0.64, 0.78, 0.9, 1.0)
HEAD_PLATEAU = 0.16  # hair and ears up to here move with the skull before the motion starts to fade
LOCAL_REACH = 0.5  # a falling jaw stretches the neck up to here and no further
FOLD_RATIO = 0.05  # a triangle pressed below this share of its area at rest is smoothed into its neighbours
FOLD_SWEEPS = 20
RIM_FIRMNESS = 4.0


def smoothstep(x: np.ndarray | float, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """0 below `low`, 1 above `high`, the cubic 3t² − 2t³ between: continuous with its first derivative."""
    t = np.clip((np.asarray(x, np.float64) - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@cache
def skin_triangles() -> np.ndarray:
    """int32 [852, 3]: FaceMesh's surface without eye and mouth openings, from its published edges.

    A face is a triple of mutually joined vertices; the two triples whose every edge borders three such triples are
    outlines round a nostril's vertices, not faces.
    """
    neighbours: dict[int, set[int]] = {}
    for a, b in FACEMESH_TESSELATION:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    triples = [(a, b, c) for a in neighbours for b in neighbours[a] if b > a
               for c in neighbours[a] & neighbours[b] if c > b]  # fmt: skip
    shared: dict[tuple[int, int], int] = {}
    for a, b, c in triples:
        for edge in ((a, b), (b, c), (a, c)):
            shared[edge] = shared.get(edge, 0) + 1
    faces = sorted(t for t in triples if not all(shared[e] == 3 for e in ((t[0], t[1]), (t[1], t[2]), (t[0], t[2]))))
    return np.array(faces, np.int32)


def opening_loop(opening: Opening) -> list[int]:
    """An opening's outline as landmark indices: along the upper chain, back along the lower one."""
    return [*opening[0], *opening[1][-2:0:-1]]


@cache
def opening_triangles() -> np.ndarray:
    """int32 [T, 3]: strips that cover the mouth and eye openings, from the upper chain to the lower one."""
    strips = []
    for upper, lower in OPENINGS:
        for (u0, u1), (l0, l1) in zip(pairwise(upper), pairwise(lower), strict=True):
            strips += [t for t in ((u0, u1, l0), (u1, l1, l0)) if len(set(t)) == 3]
    return np.array(strips, np.int32)


def doubled_areas_px2(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Twice the signed area of each triangle in the picture plane; points [N, ≥2], triangles [T, 3] → [T]."""
    a, b, c = (points[triangles[:, i], :2] for i in range(3))
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


class HeadFrame:
    """The head's own axes and scale in a portrait at rest."""

    def __init__(self, rest_px: np.ndarray) -> None:
        """rest_px: float [468, 3]."""
        right, left = (rest_px[i] for i in OUTER_EYE_CORNERS)
        self.px_per_mm = float(np.linalg.norm(left - right)) / EYE_CORNERS_MM
        across, down = rest_px[FACE_OVAL[8]] - rest_px[FACE_OVAL[28]], rest_px[FACE_OVAL[18]] - rest_px[FACE_OVAL[0]]
        x = across / np.linalg.norm(across)
        y = down - (down @ x) * x
        y /= np.linalg.norm(y)
        self.axes_px = np.stack([x, y, np.cross(x, y)]) * self.px_per_mm
        """[3, 3]: rows are 1 mm to the picture's right, down the face and into the head, in pixels."""
        self.down = self.axes_px[1, :2] / np.linalg.norm(self.axes_px[1, :2])
        """Unit vector [2] down the face in the picture."""

    def opening_mm(self, points_px: np.ndarray) -> float:
        """How far the middle of the lips stands open in landmarks [468, ≥2]; negative where the lips overlap."""
        upper, lower = (points_px[list(chain[4:7]), :2] for chain in INNER_LIPS)
        return float(((lower - upper) @ self.down).mean()) / self.px_per_mm


class HeadMotion:
    """Least-squares affine motion of the skull, damped towards pure translation so that it can be extrapolated."""

    def __init__(self, rest_px: np.ndarray) -> None:
        """rest_px: float [468, 3]."""
        skull = rest_px[list(SKULL)].astype(np.float64)
        self.centre_px = skull.mean(0)
        spread = skull - self.centre_px
        damping = 0.01 * np.trace(spread.T @ spread) / 3.0
        self._solve = np.linalg.solve(spread.T @ spread + damping * np.eye(3), spread.T)
        self._skull = skull

    def fit(self, target_px: np.ndarray) -> np.ndarray:
        """[468, 3] → [3, 4] matrix M with M @ (x, y, z, 1) the moved place of a rest point fixed to the skull."""
        shift = target_px[list(SKULL)] - self._skull
        mean = shift.mean(0)
        linear = np.eye(3) + (self._solve @ (shift - mean)).T
        return np.column_stack([linear, self.centre_px + mean - linear @ self.centre_px])


@dataclass(frozen=True)
class Rings:
    """Rings of 36 vertices between the face oval and a fixed outline, and how much motion each of them takes part in.

    Vertex r·36 + i is on ring r, on the ray through FACE_OVAL[i].
    """

    rest_px: np.ndarray  # [R·36, 3]
    triangles: np.ndarray  # int32 [T, 3], indices into (468 landmarks, then ring vertices)
    head_weight: np.ndarray  # [R·36, 1] share of the skull's motion
    local_weight: np.ndarray  # [R·36, 1] share of what the oval moves beyond the skull

    @classmethod
    def around(cls, rest_px: np.ndarray, width_px: int, height_px: int) -> "Rings":
        """Rings round the face at rest, none of them outside a picture of this size."""
        oval = rest_px[list(FACE_OVAL)].astype(np.float64)
        centre, outline = oval[:, :2].mean(0), oval[:, :2]
        face_height_px = np.linalg.norm(outline[0] - outline[18])
        half_width_px = 0.5 * np.ptp(outline[:, 0]) + REACH_SIDE * face_height_px
        ray = outline - centre
        reach = np.where(ray[:, 1] < 0, REACH_UP, REACH_DOWN) * face_height_px + 0.5 * face_height_px
        radius = 1.0 / np.sqrt((ray[:, 0] / half_width_px) ** 2 + (ray[:, 1] / reach) ** 2)
        room = np.min(np.where(ray > 0, ([width_px, height_px] - centre), -centre) / np.where(ray == 0, 1e-9, ray), 1)
        # A face cut by the picture's edge leaves no room beyond its oval: keep a sliver, so that no triangle vanishes.
        outermost = centre + ray * np.maximum(np.minimum(radius, room), 1.02)[:, None]
        rings = [np.column_stack([outline + t * (outermost - outline), oval[:, 2]]) for t in RING_POSITIONS]
        position = np.repeat(RING_POSITIONS, len(FACE_OVAL))[:, None]
        local = np.clip(1.0 - position / LOCAL_REACH, 0.0, 1.0) ** 2
        return cls(
            np.vstack(rings), ring_triangles(len(RING_POSITIONS)), 1.0 - smoothstep(position, HEAD_PLATEAU, 1.0), local
        )

    def move(
        self, rest_px: np.ndarray, target_px: np.ndarray, head: np.ndarray, body: np.ndarray | None = None
    ) -> np.ndarray:
        """Where the ring vertices go [R·36, 3] when the landmarks go from rest to target and the skull by head.

        These rings have no shoulders: `body` moves none of them.
        """
        del body
        oval = list(FACE_OVAL)
        beyond_skull = target_px[oval] - transform(head, rest_px[oval])
        repeated = np.tile(beyond_skull, (len(self.rest_px) // len(oval), 1))
        skull_shift = transform(head, self.rest_px) - self.rest_px
        return self.rest_px + self.head_weight * skull_shift + self.local_weight * repeated


def ring_triangles(rings: int) -> np.ndarray:
    """int32 [72·rings, 3]: the strips between the face oval and `rings` rings of 36 vertices round it."""
    size = len(FACE_OVAL)
    loops = [np.array(FACE_OVAL), *(NUM_LANDMARKS + r * size + np.arange(size) for r in range(rings))]
    strips = []
    for inner, outer in pairwise(loops):
        next_inner, next_outer = np.roll(inner, -1), np.roll(outer, -1)
        strips += [np.stack([inner, next_inner, outer], 1), np.stack([next_inner, next_outer, outer], 1)]
    return np.concatenate(strips).astype(np.int32)


def transform(head: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Apply a [3, 4] matrix to points [N, 3]."""
    return points_px @ head[:, :3].T + head[:, 3]


def keep_openings_ordered(points_px: np.ndarray, down: np.ndarray) -> None:
    """Where an upper lip or lid has passed the lower one along the unit vector `down` [2], let them meet halfway."""
    for upper, lower in OPENINGS:
        inner_upper, inner_lower = list(upper[1:-1]), list(lower[1:-1])
        overlap = np.minimum((points_px[inner_lower, :2] - points_px[inner_upper, :2]) @ down, 0.0)[:, None]
        points_px[inner_upper, :2] += 0.5 * overlap * down
        points_px[inner_lower, :2] -= 0.5 * overlap * down


@cache
def _firmness(points: int) -> np.ndarray:
    """How firmly each of `points` vertices keeps its place, [points]: the rims of lips and lids most."""
    firmness = np.ones(points)
    firmness[[i for opening in OPENINGS for i in opening_loop(opening)]] = RIM_FIRMNESS
    return firmness


def unfold(rest_px: np.ndarray, target_px: np.ndarray, triangles: np.ndarray, rest_areas: np.ndarray) -> None:
    """Smooth, in place, the motion of triangles that fold over or are pressed flat, continuously in the target.

    A folded triangle is drawn as a dark tick. Its corners are pulled towards their mean motion, more the flatter it is;
    the rims of lips and lids, which are seen against what lies behind them, give way last.
    """
    firmness = _firmness(len(target_px))
    for _ in range(FOLD_SWEEPS):
        flatness = 1.0 - doubled_areas_px2(target_px, triangles) / rest_areas / FOLD_RATIO
        flat = np.nonzero(flatness > 0)[0]
        if not flat.size:
            return
        corners, pull = triangles[flat], np.minimum(flatness[flat], 1.0)[:, None]
        motion = (target_px - rest_px)[corners, :2]
        firm = firmness[corners][..., None]
        mean = (firm * motion).sum(1, keepdims=True) / firm.sum(1, keepdims=True)
        change = (pull[..., None] * (mean - motion) / firm).reshape(-1, 2)
        index, weight = corners.ravel(), np.repeat(pull, 3, 1).ravel()
        total = np.maximum(np.bincount(index, weight, len(target_px)), 1.0)
        for axis in range(2):
            target_px[:, axis] += np.bincount(index, change[:, axis], len(target_px)) / total
