"""An eyeball of a still picture that can look elsewhere: the iris slides, the white gives way up to the corners.

The iris is the disc inside the eye's opening that is darkest against the rest. Where none is told, behind sunglasses,
in closed or blank eyes, nothing moves. The paper has no such part: it belongs to nano.
"""

import numpy as np
import skia

from engine.nano.face_mesh import smoothstep
from engine.nano.sprites import SPRITE_SAMPLING, Patch, image

IRIS_RADIUS_MM = 5.9
FIRM = 1.1
"""Up to so many radii from its middle the iris moves as one."""
LEAST_CONTRAST = 14.0
"""Levels of 255 by which an iris must be darker than the rest of the opening."""
STRETCH = 0.55
"""Largest share of the room between iris and corner that is taken up."""
COLUMNS, ROWS = 15, 7


class Eyeball:
    """Draws the eyeball of one eye; a `Patch` that the skull carries, and a mesh of it where it looks elsewhere."""

    def __init__(self, pixels: np.ndarray, seen: np.ndarray, corner_px: tuple[int, int], px_per_mm: float) -> None:
        """`pixels` uint8 RGB [h, w], `seen` [h, w] with 1 inside the opening, their upper left pixel `corner_px`."""
        self._patch = Patch(pixels, seen, corner_px)
        self._px_per_mm = px_per_mm
        self._iris_px = find_iris(pixels, seen, IRIS_RADIUS_MM * px_per_mm)
        self.reach_mm = 0.0
        """How far the iris can slide to either side; 0 where none is told."""
        if self._iris_px is None:
            return
        height, width = seen.shape
        grid = np.stack(np.meshgrid(np.linspace(0, width, COLUMNS), np.linspace(0, height, ROWS)), 2).reshape(-1, 2)
        columns, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
        away = grid - self._iris_px
        left, right = self._iris_px[0] - columns[0], columns[-1] - self._iris_px[0]
        radius = FIRM * IRIS_RADIUS_MM * px_per_mm
        room = np.where(away[:, 0] < 0, left, right)
        across = 1 - smoothstep(np.abs(away[:, 0]), np.minimum(radius, 0.6 * room), np.maximum(room, 1e-6))
        # The upper lid follows a look up or down, the lower one stays.
        depth = max(float(rows[-1] - self._iris_px[1]), 1.0)
        self._share = np.stack([across, across * (1 - smoothstep(away[:, 1], 0.3 * depth, depth))], 1)
        self.reach_mm = STRETCH * max(min(left, right) - 0.6 * radius, 0.0) / px_per_mm
        self._grid, self._corner_px = grid, np.array(corner_px, float)
        self._textured = [skia.Point(x, y) for x, y in grid.tolist()]
        picture = image(np.dstack([pixels, (255 * seen).astype(np.uint8)]))
        shader = picture.makeShader(skia.TileMode.kDecal, skia.TileMode.kDecal, SPRITE_SAMPLING)
        self._paint = skia.Paint(Shader=shader)
        self._indices = [k for r in range(ROWS - 1) for c in range(COLUMNS - 1) for a in (r * COLUMNS + c,)
                         for k in (a, a + 1, a + COLUMNS, a + 1, a + COLUMNS + 1, a + COLUMNS)]  # fmt: skip

    def draw(self, canvas: skia.Canvas, head: np.ndarray, z_px: float, look_mm: np.ndarray) -> None:
        """Draw it where the skull's motion `head` [3, 4] takes it; `look_mm` [2] is how far the iris slides, right
        and down in the picture, within `reach_mm`."""
        if self._iris_px is None or not look_mm.any():
            self._patch.draw(canvas, head, z_px)
            return
        places = self._grid + self._share * look_mm * self._px_per_mm + self._corner_px
        moved = places @ head[:2, :2].T + head[:2, 2] * z_px + head[:2, 3]
        points = [skia.Point(x, y) for x, y in moved.tolist()]
        mesh = skia.Vertices(skia.Vertices.kTriangles_VertexMode, points, self._textured, None, self._indices)
        canvas.drawVertices(mesh, self._paint, skia.BlendMode.kSrcOver)


def find_iris(pixels: np.ndarray, seen: np.ndarray, radius_px: float) -> np.ndarray | None:
    """The iris's middle, x and y in `pixels` uint8 RGB [h, w, 3], `seen` [h, w] with 1 inside the opening; or None."""
    inside = seen > 0
    columns = np.flatnonzero(inside.any(0))
    if len(columns) < 4 or radius_px < 1:
        return None
    light = pixels.astype(np.float64).mean(2)
    y, x = np.mgrid[: seen.shape[0], : seen.shape[1]]
    best, found = LEAST_CONTRAST, None
    for column in np.linspace(columns[0] + 0.2 * len(columns), columns[0] + 0.8 * len(columns), 19):
        rows = np.flatnonzero(inside[:, round(column)])
        if not len(rows):
            continue
        for row in np.linspace(rows[0], rows[-1], 5):
            near = (x - column) ** 2 + (y - row) ** 2 < radius_px**2
            disc, rest = inside & near, inside & ~near
            if disc.sum() < 4 or rest.sum() < 4:
                continue
            contrast = float(np.median(light[rest]) - light[disc].mean())
            if contrast > best:
                best, found = contrast, np.array([column, row])
    return found
