"""A row of teeth: painted flat once, tooth by tooth, and bent round the dental arch whenever it is drawn.

Lengths in millimetres, from the middle of the biting edge: x to the picture's right, y down the face, z into it. Knows
nothing about faces or where the row is seen from. The paper has no such part: it belongs to nano.
"""

from collections.abc import Sequence

import numpy as np
import skia

from engine.nano.face_mesh import smoothstep
from engine.nano.mouth_palette import Palette
from engine.nano.sprites import image

# Width and length of the teeth from the midline outwards, in millimetres.
UPPER_TEETH_MM = ((8.6, 10.2), (6.8, 9.3), (7.7, 10.0), (7.2, 8.8), (7.0, 8.2), (8.0, 7.5))
LOWER_TEETH_MM = ((5.4, 8.8), (6.0, 9.0), (6.9, 9.6), (7.1, 8.8), (7.2, 8.0), (8.0, 7.4))

ARCH_RADIUS_MM, ARCH_DEPTH_MM = 27.0, 26.0  # the dental arch seen from above: half an ellipse
ARCH_HALF_LENGTH_MM = 33.0
GUM_MM = 4.0
GAP_MM, GAP_DEPTH = 0.5, 0.2  # the shadow between two teeth
UPPER_RISE_MM, LOWER_RISE_MM = 1.6, 0.8  # a smile's arc: how much higher the edge lies 20 mm off the middle
STRIPS = 18

SMOOTH_SAMPLING = skia.SamplingOptions(skia.FilterMode.kLinear)


class TeethRow:
    """The upper or the lower row of one portrait."""

    def __init__(self, upper: bool, palette: Palette, px_per_mm: float) -> None:
        """Paint the row at `px_per_mm`."""
        teeth_mm = UPPER_TEETH_MM if upper else LOWER_TEETH_MM
        sprite = paint_teeth(teeth_mm, palette, px_per_mm)
        self._image = image(sprite)
        along = np.linspace(-ARCH_HALF_LENGTH_MM, ARCH_HALF_LENGTH_MM, STRIPS + 1)
        angle = along / ARCH_RADIUS_MM
        rise = -(UPPER_RISE_MM if upper else LOWER_RISE_MM) * (along / 20.0) ** 2
        edge = np.column_stack([ARCH_RADIUS_MM * np.sin(angle), rise, ARCH_DEPTH_MM * (1 - np.cos(angle))])
        root = edge + np.array([0.0, (-1 if upper else 1) * sprite.shape[0] / px_per_mm, 0.0])
        self.outline_mm = np.concatenate([edge, root])
        """Biting edge, then the gum's end [2·19, 3]."""
        across = np.linspace(0, sprite.shape[1], STRIPS + 1).tolist()
        self._texture = [skia.Point(u, v) for v in (0, sprite.shape[0]) for u in across]
        n = STRIPS + 1
        self._indices = [i for k in range(STRIPS) for i in (k, k + 1, n + k, k + 1, n + k + 1, n + k)]

    def draw(self, canvas: skia.Canvas, outline_px: np.ndarray, light: float) -> None:
        """Draw the row with `outline_mm` moved to `outline_px` [2·19, 2], its colours times `light` in [0, 1]."""
        points = [skia.Point(x, y) for x, y in outline_px.tolist()]
        vertices = skia.Vertices(skia.Vertices.kTriangles_VertexMode, points, self._texture, None, self._indices)
        shader = self._image.makeShader(skia.TileMode.kClamp, skia.TileMode.kClamp, SMOOTH_SAMPLING)
        dim = skia.ColorFilters.Matrix([light, 0, 0, 0, 0, 0, light, 0, 0, 0, 0, 0, light, 0, 0, 0, 0, 0, 1, 0])
        canvas.drawVertices(vertices, skia.Paint(Shader=shader, ColorFilter=dim), skia.BlendMode.kSrcOver)


def paint_teeth(teeth_mm: Sequence[tuple[float, float]], palette: Palette, px_per_mm: float) -> np.ndarray:
    """uint8 RGBA of a row lying flat, biting edges along the top, gum below; teeth from the midline outwards."""
    widths, lengths = np.array(teeth_mm).T
    ends, longest = np.cumsum(widths), lengths.max()
    columns, rows = round(2 * ARCH_HALF_LENGTH_MM * px_per_mm), round((longest + GUM_MM) * px_per_mm)
    x = np.abs((np.arange(columns) + 0.5) / px_per_mm - ARCH_HALF_LENGTH_MM)[None, :]
    y = ((np.arange(rows) + 0.5) / px_per_mm)[:, None]
    which = np.minimum(np.searchsorted(ends, x[0]), len(widths) - 1)
    aside = np.clip(np.abs(x - (ends - 0.5 * widths)[which]) / (0.5 * widths[which]), 0, 1)  # 1 at a tooth's side
    edge = longest - lengths[which] + 0.55 * aside**4  # rounded corners
    root = longest + aside**2  # the gum's scallops
    soft_mm = 0.12 + 1.2 / px_per_mm
    form = 1 - 0.18 * aside**3 - 0.12 * smoothstep(y, 0.3 * longest, longest)
    form -= 0.10 * (1 - smoothstep(y - edge, 0.0, 1.6))  # the edge lets the dark behind it through
    form += 0.08 * np.exp(-(((y - edge) / longest - 0.35) ** 2) / 0.02 - (aside / 0.5) ** 2)  # wet enamel shines
    form *= 1 - GAP_DEPTH * smoothstep(aside * widths[which], widths[which] - GAP_MM - soft_mm, widths[which])
    recede = 1 - 0.62 * smoothstep(x, 8.0, 28.0)  # side teeth stand in the cheeks' shadow
    crown = (1 - smoothstep(y - root, -soft_mm, soft_mm))[..., None]
    flesh = palette.gum * (0.9 - 0.25 * smoothstep(y - root, 0.0, GUM_MM))[..., None]
    rgb = (palette.tooth * form[..., None] * crown + flesh * (1 - crown)) * recede[..., None]
    alpha = 255 * smoothstep(y - edge, -soft_mm, soft_mm)
    return np.dstack([np.clip(rgb, 0, 255), alpha]).round().astype(np.uint8)
