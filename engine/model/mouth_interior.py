"""The inside of a mouth that a still picture does not show: cavity, tongue, two rows of teeth, all in its own tones.

Drawn, not generated: everything is a shape in millimetres (the outer eye corners of an adult are taken as 90 mm apart),
fixed to the skull (upper teeth) or to the jaw (lower teeth, tongue), and seen through the opening between the lips.
Knows nothing about the mesh around that opening. The paper has no such part: it belongs to nano.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import skia

from engine.model.face_mesh import CHIN, INNER_LIPS, LEFT_EYE, OUTER_EYE_CORNERS, RIGHT_EYE, opening_loop, smoothstep, transform
from engine.model.sprites import OwnOpening, colour, image, polygon

EYE_CORNERS_MM = 90.0
SPRITE_SCALE = 2.0  # teeth are painted at this many times the picture's resolution
ARCH_RADIUS_MM, ARCH_DEPTH_MM = 27.0, 26.0  # the dental arch seen from above: half an ellipse
ARCH_HALF_LENGTH_MM = 33.0
TEETH_BEHIND_LIPS_MM = 3.0

# Width and length of the teeth from the midline outwards, in millimetres.
UPPER_TEETH_MM = ((8.6, 10.2), (6.8, 9.3), (7.7, 10.0), (7.2, 8.8), (7.0, 8.2), (8.0, 7.5))
LOWER_TEETH_MM = ((5.4, 8.8), (6.0, 9.0), (6.9, 9.6), (7.1, 8.8), (7.2, 8.0), (8.0, 7.4))

# Where the biting edges sit below the line where the lips meet at rest, for teeth = 0 and teeth = 1.
UPPER_EDGE_MM = (-0.5, 3.5)  # in the skull's frame
LOWER_EDGE_MM = (3.0, -3.0)  # in the jaw's frame, from the lower lip's rim
GAP_MM, GAP_DEPTH = 0.5, 0.3  # the shadow between two teeth
TONGUE_TOP_MM = (4.0, 0.5)  # for tongue = 0 (jaw's frame) and 1 (behind the upper teeth's edge)
TONGUE_SEEN = 0.35  # share of the opening by which one looks over the lower lip onto a resting tongue
FADE_IN_MM = 1.4  # from this opening beyond the portrait's own on, the painted inside is opaque
OWN_MOUTH_MM = (1.2, 2.8)  # a portrait's own opening: below the first nothing of it is kept, above the second all of it

SMOOTH_SAMPLING = skia.SamplingOptions(skia.FilterMode.kLinear)


class Palette:
    """Colours (float RGB 0–255) of a mouth's inside, taken from the portrait so that they share its light and toning."""

    def __init__(self, picture: np.ndarray, rest_px: np.ndarray, own_opening_mm: float) -> None:
        points = rest_px[:, :2]
        self.lip = np.median(_pixels(picture, points[[0, 37, 267, 17, 84, 314, 14, 13]]), 0)
        skin = np.median(_pixels(picture, points[[50, 280, 205, 425, 101, 330]]), 0)
        self.tooth = self._tooth(picture, points, skin, own_opening_mm)
        dark = np.percentile(_pixels(picture, points[list(INNER_LIPS[0] + INNER_LIPS[1][1:-1])]), 2, axis=0)
        flesh = self.lip * min(1.0, 120.0 / max(_luma(self.lip), 1.0))
        self.cavity = np.minimum(0.22 * flesh, dark + 12.0)
        self.tongue = 0.75 * flesh + 0.1 * skin
        self.gum = 0.65 * flesh + 0.15 * skin

    @staticmethod
    def _tooth(picture: np.ndarray, points: np.ndarray, skin: np.ndarray, own_opening_mm: float) -> np.ndarray:
        """Enamel: the bright pixels of an open mouth that shows teeth, else the eyes' whites, else paled skin.

        Eyes lie in the brows' shade, so that only their hue is trusted; the light is the skin's.
        """
        light = max(float(_luma(skin)), 1.0)
        whites = _brightest(np.concatenate([_polygon_pixels(picture, points[opening_loop(e)]) for e in (RIGHT_EYE, LEFT_EYE)]))
        paled = 0.6 * light + 0.4 * skin
        white_like = len(whites) and np.ptp(whites.mean(0)) / whites.mean() < np.ptp(paled) / paled.mean()
        # A white shaded by sky or screen is bluer than teeth are: half its hue, half the paled skin's.
        enamel = 0.5 * (whites.mean(0) * light / max(_luma(whites.mean(0)), 1.0) + paled) if white_like else paled
        lightness = np.clip(_luma(enamel), 0.95 * light, 1.15 * light)
        if own_opening_mm > OWN_MOUTH_MM[1]:
            shown = _brightest(_polygon_pixels(picture, points[opening_loop(INNER_LIPS)]))
            if len(shown) and _luma(shown).mean() > 0.65 * light:
                enamel, lightness = shown.mean(0), np.clip(_luma(shown).mean(), 0.7 * light, 1.25 * light)
        return np.clip(enamel * min(lightness, 242.0) / max(float(_luma(enamel)), 1.0), 0, 252)


class MouthInterior:
    """Draws the inside of one portrait's mouth into any frame of it."""

    def __init__(self, picture: np.ndarray, rest_px: np.ndarray) -> None:
        """picture uint8 RGB [H, W, 3]; rest_px float [468, 3], the portrait's own landmarks."""
        right, left = (rest_px[i] for i in OUTER_EYE_CORNERS)
        self.px_per_mm = float(np.linalg.norm(left - right)) / EYE_CORNERS_MM
        self._rest_px = rest_px.astype(np.float64)
        # An orthonormal frame of the head: x to the picture's right, y down the face, z into it.
        across, down = rest_px[454] - rest_px[234], rest_px[152] - rest_px[10]
        x = across / np.linalg.norm(across)
        y = down - (down @ x) * x
        y /= np.linalg.norm(y)
        self._axes_px = np.stack([x, y, np.cross(x, y)]).astype(np.float64) * self.px_per_mm
        self.down = self._axes_px[1, :2] / np.linalg.norm(self._axes_px[1, :2])
        self._rest_opening_mm = self._opening_mm(self._rest_px)
        corners = self._rest_px[[INNER_LIPS[0][0], INNER_LIPS[0][-1]]]
        middle = self._rest_px[[INNER_LIPS[0][5], INNER_LIPS[1][5]]]
        # Where the lips meet: an open mouth's line lies nearer the upper lip, which hardly moves.
        meeting = middle[0] + 0.25 * (middle[1] - middle[0])
        self._origin_px = meeting + TEETH_BEHIND_LIPS_MM * self._axes_px[2]
        self._lower_lip_mm = float((middle[1] - meeting)[:2] @ self.down) / self.px_per_mm
        self._half_width_mm = 0.5 * float(np.linalg.norm(corners[1] - corners[0])) / self.px_per_mm
        self.palette = Palette(picture, self._rest_px, self._rest_opening_mm)
        self._own_share = float(smoothstep(self._rest_opening_mm, *OWN_MOUTH_MM))
        self._upper, self._lower = (self._row(teeth, upper) for teeth, upper in ((UPPER_TEETH_MM, True), (LOWER_TEETH_MM, False)))
        self._own = OwnOpening(
            picture, self._rest_px[opening_loop(INNER_LIPS), :2], inset_px=0.7 * self.px_per_mm, fade_px=0.8 * self.px_per_mm
        )

    def _opening_mm(self, points_px: np.ndarray) -> float:
        upper, lower = points_px[list(INNER_LIPS[0][4:7]), :2], points_px[list(INNER_LIPS[1][4:7]), :2]
        return float(((lower - upper) @ self.down).mean()) / self.px_per_mm

    def _row(self, teeth_mm: Sequence[tuple[float, float]], upper: bool) -> "TeethRow":
        return TeethRow(teeth_mm, upper, self.palette, self.px_per_mm * SPRITE_SCALE)

    def draw(self, canvas: skia.Canvas, target_px: np.ndarray, head: np.ndarray, teeth: float, tongue: float) -> None:
        """Draw what is seen between the lips of `target_px` [468, 3]; head [3, 4] moves rest points with the skull.

        Everything is continuous in the inputs: nothing is drawn while the lips are no further apart than at rest
        (a portrait's own open mouth excepted), and the inside fades in as they part.
        """
        opening_mm = self._opening_mm(target_px)
        painted = float(smoothstep(opening_mm - self._rest_opening_mm, 0.0, FADE_IN_MM))
        if painted <= 0 and self._own_share <= 0:
            return
        chin = list(CHIN)
        jaw_px = (target_px[chin] - transform(head, self._rest_px[chin])).mean(0)
        opening = polygon(target_px[opening_loop(INNER_LIPS), :2])
        canvas.save()
        canvas.clipPath(opening, skia.ClipOp.kIntersect, True)
        if painted > 0:
            canvas.saveLayerAlpha(opening.getBounds().makeOutset(2, 2), round(255 * painted))
            self._paint(canvas, opening, head, jaw_px, opening_mm, teeth, tongue)
            canvas.restore()
        if self._own_share > 0:
            self._own.draw(canvas, head, float(self._origin_px[2]), self._own_share)
        self._shade(canvas, opening, painted)
        canvas.restore()

    def _place(self, head: np.ndarray, jaw_px: np.ndarray | float, offsets_mm: np.ndarray) -> np.ndarray:
        """Points given in millimetres from the lips' meeting point [N, 3] → pixels [N, 2]."""
        return (transform(head, self._origin_px + offsets_mm @ self._axes_px) + jaw_px)[:, :2]

    def _paint(self, canvas: skia.Canvas, opening: skia.Path, head: np.ndarray, jaw_px: np.ndarray,
               opening_mm: float, teeth: float, tongue: float) -> None:  # fmt: skip
        light = 0.72 + 0.28 * float(smoothstep(opening_mm, 0.0, 9.0))  # less light falls into a smaller opening
        bounds = opening.getBounds().makeOutset(2, 2)
        self._paint_cavity(canvas, bounds)
        upper_edge, lower_edge = (np.interp(teeth, (0, 1), edge) for edge in (UPPER_EDGE_MM, LOWER_EDGE_MM))
        self._paint_tongue(canvas, head, jaw_px, opening_mm, upper_edge, tongue, light)
        for row, jaw, edge, share in ((self._lower, jaw_px, self._lower_lip_mm + lower_edge, 0.88), (self._upper, 0.0, upper_edge, 1.0)):
            row.draw(canvas, self._place(head, jaw, row.outline_mm(edge)), light * share)

    def _paint_cavity(self, canvas: skia.Canvas, bounds: skia.Rect) -> None:
        colours = [colour(self.palette.cavity * s) for s in (0.7, 0.9, 1.5)]
        ends = [skia.Point(bounds.centerX(), bounds.top()), skia.Point(bounds.centerX(), bounds.bottom())]
        canvas.drawRect(bounds, skia.Paint(Shader=skia.GradientShader.MakeLinear(ends, colours, [0.0, 0.55, 1.0])))

    def _paint_tongue(self, canvas: skia.Canvas, head: np.ndarray, jaw_px: np.ndarray, opening_mm: float,
                      upper_edge_mm: float, tongue: float, light: float) -> None:  # fmt: skip
        raised = float(np.clip(tongue, 0, 1))
        resting_mm = self._lower_lip_mm + TONGUE_TOP_MM[0] - TONGUE_SEEN * opening_mm
        low = self._place(head, jaw_px, np.array([[0.0, resting_mm, 6.0]]))[0]
        high = self._place(head, 0.0, np.array([[0.0, upper_edge_mm + TONGUE_TOP_MM[1], 6.0]]))[0]
        top = low + raised * (high - low)
        half_width, height = 0.62 * self._half_width_mm * self.px_per_mm, 22.0 * self.px_per_mm
        body = skia.Rect.MakeXYWH(-half_width, 0, 2 * half_width, height)
        shades = [colour(self.palette.tongue * s * light) for s in (0.62 + 0.1 * raised, 0.85, 0.6)]
        ends = [skia.Point(0, 0), skia.Point(0, 0.5 * height)]
        paint = skia.Paint(AntiAlias=True, Shader=skia.GradientShader.MakeLinear(ends, shades, [0.0, 0.3, 1.0]),
                           MaskFilter=skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, 0.7 * self.px_per_mm))  # fmt: skip
        canvas.save()
        canvas.translate(*top.tolist())
        canvas.rotate(float(np.degrees(np.arctan2(-self.down[0], self.down[1]))))
        canvas.drawRoundRect(body, half_width, 9.0 * self.px_per_mm, paint)
        canvas.restore()

    def _shade(self, canvas: skia.Canvas, opening: skia.Path, painted: float) -> None:
        """The shadow the lips throw on what lies behind them, deeper under the upper lip."""
        if painted <= 0:
            return
        for drop_mm, width_mm, strength in ((1.2, 3.0, 0.45), (0.3, 1.0, 0.3)):
            paint = skia.Paint(AntiAlias=True, Style=skia.Paint.kStroke_Style, StrokeWidth=width_mm * self.px_per_mm,
                               Color=colour(self.palette.cavity * 0.6, strength * painted),
                               MaskFilter=skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, 0.5 * width_mm * self.px_per_mm))  # fmt: skip
            canvas.save()
            canvas.translate(*(self.down * drop_mm * self.px_per_mm).tolist())
            canvas.drawPath(opening, paint)
            canvas.restore()


class TeethRow:
    """One row of teeth with its gum, painted flat once and bent round the dental arch when drawn."""

    STRIPS = 18

    def __init__(self, teeth_mm: Sequence[tuple[float, float]], upper: bool, palette: Palette, px_per_mm: float) -> None:
        self._gum_mm = 4.0
        self._length_mm = max(length for _, length in teeth_mm) + self._gum_mm
        self._towards_gum = -1.0 if upper else 1.0
        sprite = paint_teeth(teeth_mm, palette, px_per_mm, self._length_mm, self._gum_mm)
        self._image = image(sprite if not upper else sprite[::-1])
        along = np.linspace(-ARCH_HALF_LENGTH_MM, ARCH_HALF_LENGTH_MM, self.STRIPS + 1)
        angle = along / ARCH_RADIUS_MM
        # A smile's arc: the edges of the side teeth lie a little higher than those of the front ones.
        rise = -1.6 * (along / 20.0) ** 2 if upper else -0.8 * (along / 20.0) ** 2
        self._arch_mm = np.column_stack([ARCH_RADIUS_MM * np.sin(angle), rise, ARCH_DEPTH_MM * (1 - np.cos(angle))])
        width, height = sprite.shape[1], sprite.shape[0]
        across = np.linspace(0, width, self.STRIPS + 1)
        edge_y, gum_y = (height, 0) if upper else (0, height)
        self._texture = [skia.Point(u, edge_y) for u in across.tolist()] + [skia.Point(u, gum_y) for u in across.tolist()]
        n = self.STRIPS + 1
        self._indices = [i for k in range(self.STRIPS) for i in (k, k + 1, n + k, k + 1, n + k + 1, n + k)]

    def outline_mm(self, edge_mm: float) -> np.ndarray:
        """Biting edge then gum line [2·19, 3] when the biting edge in the middle lies `edge_mm` below the lips' line."""
        edge = self._arch_mm + [0.0, edge_mm, 0.0]
        return np.concatenate([edge, edge + [0.0, self._towards_gum * self._length_mm, 0.0]])

    def draw(self, canvas: skia.Canvas, outline_px: np.ndarray, light: float) -> None:
        """Draw the row into `outline_px` [2·19, 2] (see `outline_mm`), its colours times `light` in [0, 1]."""
        points = [skia.Point(x, y) for x, y in outline_px.tolist()]
        vertices = skia.Vertices(skia.Vertices.kTriangles_VertexMode, points, self._texture, None, self._indices)
        shader = self._image.makeShader(skia.TileMode.kClamp, skia.TileMode.kClamp, SMOOTH_SAMPLING)
        dim = skia.ColorFilters.Matrix([light, 0, 0, 0, 0, 0, light, 0, 0, 0, 0, 0, light, 0, 0, 0, 0, 0, 1, 0])
        canvas.drawVertices(vertices, skia.Paint(Shader=shader, ColorFilter=dim, AntiAlias=True), skia.BlendMode.kSrcOver)


def paint_teeth(teeth_mm: Sequence[tuple[float, float]], palette: Palette, px_per_mm: float, length_mm: float,
                gum_mm: float) -> np.ndarray:  # fmt: skip
    """uint8 RGBA of a row lying flat, biting edges along the top, gum below; teeth from the midline outwards."""
    width, height = round(2 * ARCH_HALF_LENGTH_MM * px_per_mm), round(length_mm * px_per_mm)
    x = np.abs((np.arange(width) + 0.5) / px_per_mm - ARCH_HALF_LENGTH_MM)[None, :]
    y = ((np.arange(height) + 0.5) / px_per_mm)[:, None]
    widths, lengths = np.array(teeth_mm).T
    ends, longest = np.cumsum(widths), lengths.max()
    which = np.minimum(np.searchsorted(ends, x[0]), len(widths) - 1)
    aside = np.clip(np.abs(x - (ends - 0.5 * widths)[which]) / (0.5 * widths[which]), 0, 1)  # 0 mid-tooth, 1 at its side
    edge = longest - lengths[which] + 0.8 * aside**4  # rounded corners
    root = longest - 1.0 * (1 - aside**2) + 1.0  # the gum's scallops
    soft_mm = 0.15 + 0.5 / px_per_mm
    form = 1 - 0.18 * aside**3 - 0.12 * smoothstep(y, 0.3 * longest, longest) - 0.10 * (1 - smoothstep(y - edge, 0.0, 1.6))
    form *= 1 - GAP_DEPTH * smoothstep(aside * widths[which], widths[which] - GAP_MM - soft_mm, widths[which])
    recede = 1 - 0.72 * smoothstep(x, 8.0, 30.0)  # side teeth stand in the cheeks' shadow
    crown = (1 - smoothstep(y - root, -soft_mm, soft_mm))[..., None]
    flesh = palette.gum * (0.9 - 0.25 * smoothstep(y - root, 0.0, gum_mm))[..., None]
    rgb = (palette.tooth * form[..., None] * crown + flesh * (1 - crown)) * recede[..., None]
    alpha = 255 * smoothstep(y - edge, -soft_mm, soft_mm)
    return np.dstack([np.clip(rgb, 0, 255), alpha]).round().astype(np.uint8)


def _luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ [0.299, 0.587, 0.114]


def _pixels(picture: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Float RGB [N, 3] of the pixels under points, the nearest inside where one lies outside the picture."""
    height, width = picture.shape[:2]
    x, y = np.clip(points_px.astype(int), 0, [width - 1, height - 1]).T
    return picture[y, x].astype(np.float64)


def _brightest(rgb: np.ndarray) -> np.ndarray:
    """The brightest fifth of pixels [N, 3]; glints, the top twentieth, left out."""
    order = np.argsort(_luma(rgb))
    return rgb[order[int(0.75 * len(rgb)) : int(0.95 * len(rgb))]]


def _polygon_pixels(picture: np.ndarray, outline_px: np.ndarray) -> np.ndarray:
    """Float RGB [N, 3] of the pixels inside an outline."""
    inside = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(outline_px).astype(np.int32)], 1)
    return picture[inside > 0].astype(np.float64)
