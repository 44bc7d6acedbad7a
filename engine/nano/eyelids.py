"""An eye of a still picture that can close: the eyeball stays, the lid slides over it.

The mesh alone would stretch the few pixels of lid and lashes over the whole eyeball. So the eyeball keeps the picture's
texture, fixed to the skull and seen through the opening, and a closing lid is laid over it in the colours of the skin
above and below the eye, with the lashes' dark line at its rim. The paper has no such part: it belongs to nano.
"""

import cv2
import numpy as np
import skia

from engine.nano.eyeball import Eyeball
from engine.nano.face_mesh import LEFT_EYE, RIGHT_EYE, HeadFrame, Opening, opening_loop, smoothstep, transform
from engine.nano.sprites import cut_out, packed_colours, polygon, sample

# fmt: off
# Across from the eye's points without its corners: the fold above the lid and the pouch below it.
_BESIDE: dict[Opening, tuple[tuple[int, ...], tuple[int, ...]]] = {
    RIGHT_EYE: ((247, 30, 29, 27, 28, 56, 190), (25, 110, 24, 23, 22, 26, 112)),
    LEFT_EYE: ((414, 286, 258, 257, 259, 260, 467), (341, 256, 252, 253, 254, 339, 255)),
}
# fmt: on

MIN_GAP = 0.15  # an eye narrower than this share of its width is taken as this open, lest a tremor close it
LID_SHOWS = (0.14, 0.45)  # share of the eye's closing over which the laid-on lid replaces the mesh's own
# Rows of the lid from above the rim at rest (0) to the closing rim (1): place, lightness, opacity.
LID_ROWS = ((-0.7, 0.92, 0.0), (-0.25, 0.88, 0.8), (0.25, 0.94, 1.0), (0.65, 0.98, 1.0), (1.0, 0.9, 1.0))
# Rows of the lashes, in eye widths from the closing rim: place, opacity.
LASH_ROWS = ((-0.055, 0.0), (-0.008, 0.75), (0.022, 0.75), (0.06, 0.0))


class Eye:
    """Draws one eye of one portrait into any frame of it."""

    def __init__(self, picture: np.ndarray, rest_px: np.ndarray, opening: Opening, frame: HeadFrame) -> None:
        """picture uint8 RGB [H, W, 3]; rest_px float [468, 3]; `frame`, the head's axes and scale at rest."""
        self._opening, self._down = opening, (down := frame.down)
        pixels, seen, corner_px = cut_out(picture, rest_px[opening_loop(opening), :2], 2.0)
        self._eyeball = Eyeball(pixels, cv2.dilate(seen, np.ones((3, 3), np.uint8)), corner_px, frame.px_per_mm)
        self._upper, self._lower = (list(chain) for chain in opening)
        self._rest_px = rest_px[self._upper]
        self._width_px = float(np.linalg.norm(self._rest_px[-1, :2] - self._rest_px[0, :2]))
        gap_px = float(((rest_px[self._lower] - self._rest_px)[:, :2] @ down).max())
        self._gap_px = max(gap_px, MIN_GAP * self._width_px)
        smooth = cv2.blur(picture, (reach := 2 * round(0.05 * self._width_px) + 1, reach))
        rim_px, sole_px = rest_px[self._upper[1:-1]], rest_px[self._lower[1:-1]]
        above, below = (rest_px[list(chain)] for chain in _BESIDE[opening])
        # The fold above and the pouch below often lie in shadow: look there and a little beyond, take the median.
        places = (above, above + 0.6 * (above - rim_px), below, below + 0.6 * (below - sole_px))
        self._skin = _ends_repeated(_evened(np.median([sample(smooth, p) for p in places], axis=0)))
        steps_px = self._width_px * np.array([-0.05, -0.025, 0.0, 0.025])
        depths = [sample(picture, rim_px[:, :2] + step * down) for step in steps_px]
        self._lash = np.minimum(_ends_repeated(_evened(np.min(depths, axis=0))), 0.8 * self._skin)

    @property
    def reach_mm(self) -> float:
        """How far the iris can slide to either side."""
        return self._eyeball.reach_mm

    def draw(self, canvas: skia.Canvas, target_px: np.ndarray, head: np.ndarray, look_mm: np.ndarray) -> None:
        """Draw the eye for landmarks at `target_px` [468, 3]; head [3, 4] moves rest points with the skull, and the
        iris slides by `look_mm` [2], right and down in the picture."""
        canvas.save()
        canvas.clipPath(polygon(target_px[opening_loop(self._opening), :2]), skia.ClipOp.kIntersect, True)
        self._eyeball.draw(canvas, head, float(self._rest_px[:, 2].mean()), look_mm)
        canvas.restore()
        rest, rim = transform(head, self._rest_px)[:, :2], target_px[self._upper, :2]
        closing = float(((rim - rest) @ self._down).max()) / self._gap_px
        shown = float(smoothstep(closing, *LID_SHOWS))
        if shown <= 0:
            return
        travel = rim - rest
        lid = [(rest + place * travel, self._skin * light, alpha) for place, light, alpha in LID_ROWS]
        lashes = [(rim + self._down * place * self._width_px, self._lash, alpha) for place, alpha in LASH_ROWS]
        for rows in (lid, lashes):
            _draw_rows(canvas, rows, shown)


def _draw_rows(canvas: skia.Canvas, rows: list[tuple[np.ndarray, np.ndarray, float]], shown: float) -> None:
    """A grid of colours: each row has places [N, 2], colours [N, 3] and an opacity, which falls to 0 at its ends."""
    columns = len(rows[0][0])
    points = [skia.Point(x, y) for place, _, _ in rows for x, y in place.tolist()]
    ends = np.array([0.0, 0.7] + [1.0] * (columns - 4) + [0.7, 0.0])
    colours = [packed for _, tones, alpha in rows for packed in packed_colours(tones, alpha * shown * ends)]
    indices = [k for r in range(len(rows) - 1) for c in range(columns - 1) for a in (r * columns + c,)
               for k in (a, a + 1, a + columns, a + 1, a + columns + 1, a + columns)]  # fmt: skip
    mesh = skia.Vertices(skia.Vertices.kTriangles_VertexMode, points, None, colours, indices)
    canvas.drawVertices(mesh, skia.Paint(), skia.BlendMode.kDst)


def _evened(colours: np.ndarray) -> np.ndarray:
    """A row of colours [N, 3] without its outliers (a lash, a glint on glasses), then smoothed."""
    padded = np.pad(colours, ((2, 2), (0, 0)), mode="edge")
    middle = np.median([padded[i : i + len(colours)] for i in range(5)], axis=0)
    padded = np.pad(middle, ((1, 1), (0, 0)), mode="edge")
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


def _ends_repeated(colours: np.ndarray) -> np.ndarray:
    return np.pad(colours, ((1, 1), (0, 0)), mode="edge")
