"""The person's part of a picture as a drawable mesh: the head moves as one, the neck bends, shoulders sway and breathe.

Rings of vertices round the face, as `engine.nano.face_mesh.Rings`, but out to where the person ends instead of fading
into the background: the person is a layer of their own, so nothing behind them moves. How much of the head's motion a
vertex takes part in follows from where on the body it lies, its depth from where a head's side and a neck are.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from engine.nano.face_mesh import FACE_OVAL, NUM_LANDMARKS, HeadFrame, Rings, ring_triangles, smoothstep

HAIRLINE, LEFT_EAR, CHIN, RIGHT_EAR = (FACE_OVAL[i] for i in (0, 8, 18, 28))
RINGS = 12
SPREAD = 1.7
"""Power by which rings lie closer together near the face."""
BEYOND = 1.2
"""How far over the person's box the outermost ring lies, so that its chords leave nothing of the box out."""
# All in face heights from the chin down, or from the middle of the face sideways.
NECK = (-0.05, 0.62)
"""Where the head's motion fades into the body's."""
ASIDE = (0.8, 1.6)
"""What is this far beside the face is an arm or another thing, not hair."""
SHOULDERS, WAIST = 0.45, 1.7
"""A body leans about its waist; shoulders take part fully."""
JAW_REACH = 0.4
"""A falling jaw stretches the neck up to here and no further."""
BEHIND = 0.3
"""Over such a distance from the face's oval the surface recedes to the depth of the ears."""


@dataclass(frozen=True)
class PersonMesh(Rings):
    """`body_weight` [R·36, 1] is the share of the shoulders' motion, `face_height_px` its unit."""

    body_weight: np.ndarray
    face_height_px: float

    @classmethod
    def over(cls, rest_px: np.ndarray, matte: np.ndarray) -> "PersonMesh":
        """The mesh of the person whose face rests at `rest_px` [468, 3] and whose `matte` [H, W] is above 0."""
        oval = rest_px[list(FACE_OVAL)].astype(np.float64)
        centre = oval[:, :2].mean(0)
        face_height_px = float(np.linalg.norm(rest_px[CHIN, :2] - rest_px[HAIRLINE, :2]))
        columns, rows = np.flatnonzero(matte.any(0)), np.flatnonzero(matte.any(1))
        low = np.minimum([columns[0], rows[0]], centre - 0.6 * face_height_px)
        high = np.maximum([columns[-1] + 1, rows[-1] + 1], centre + 0.6 * face_height_px)
        ray = oval[:, :2] - centre
        away = np.where(ray > 0, high - centre, centre - low) / np.maximum(np.abs(ray), 1e-9)
        outermost = centre + ray * np.maximum(BEYOND * away.min(1), 1.05)[:, None]
        steps = (np.arange(1, RINGS + 1) / RINGS) ** SPREAD
        places = np.concatenate([oval[:, :2] + t * (outermost - oval[:, :2]) for t in steps])
        beyond = np.linalg.norm(places - np.tile(oval[:, :2], (RINGS, 1)), axis=1) / face_height_px
        depth = np.tile(oval[:, 2], RINGS)
        depth += (rest_px[[LEFT_EAR, RIGHT_EAR], 2].mean() - depth) * smoothstep(beyond, 0.0, BEHIND)
        frame = HeadFrame(rest_px)
        right = np.array([frame.down[1], -frame.down[0]])
        below = (places - rest_px[CHIN, :2]) @ frame.down / face_height_px
        aside = np.abs((places - centre) @ right) / face_height_px
        head = (1 - smoothstep(below, *NECK)) * (1 - smoothstep(aside, *ASIDE))
        # An arm that is held up sways with the shoulders.
        body = np.clip((WAIST - below) / (WAIST - SHOULDERS), 0.0, 1.0)
        local = np.clip(1.0 - beyond / JAW_REACH, 0.0, 1.0) ** 2
        mesh = cls(
            np.column_stack([places, depth]),
            ring_triangles(RINGS),
            head[:, None],
            local[:, None],
            (body * (1 - head))[:, None],
            face_height_px,
        )
        return replace(mesh, triangles=mesh.triangles[_covered(np.vstack([rest_px, mesh.rest_px]), mesh, matte)])

    @property
    def stays(self) -> np.ndarray:
        """Which triangles nothing moves, bool [T]: what lies below the waist."""
        weight = np.concatenate(
            [np.ones(NUM_LANDMARKS), (self.head_weight + self.local_weight + self.body_weight)[:, 0]]
        )
        return weight[self.triangles].max(1) == 0

    def move(
        self, rest_px: np.ndarray, target_px: np.ndarray, head: np.ndarray, body: np.ndarray | None = None
    ) -> np.ndarray:
        """Where the ring vertices go [R·36, 3]; `body` [2] is how far the shoulders move, in face heights."""
        moved = super().move(rest_px, target_px, head)
        if body is not None:
            moved[:, :2] += self.body_weight * body * self.face_height_px
        return moved


def _covered(points_px: np.ndarray, mesh: PersonMesh, matte: np.ndarray) -> np.ndarray:
    """Which of the mesh's triangles hold any of the person, by their boxes: bool [T]."""
    height, width = matte.shape
    sums = cv2.integral((matte > 0).astype(np.uint8))
    corners = points_px[mesh.triangles, :2]
    x0, y0 = np.clip(np.floor(corners.min(1)).astype(int) - 1, 0, [width, height]).T
    x1, y1 = np.clip(np.ceil(corners.max(1)).astype(int) + 1, 0, [width, height]).T
    return (sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]) > 0
