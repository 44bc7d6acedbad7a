"""The inside of a mouth that a still picture does not show: cavity, tongue, two rows of teeth, all in its own tones.

Drawn, not generated: everything is a shape in millimetres (the outer eye corners of an adult are taken as 90 mm apart),
fixed to the skull (upper teeth) or to the jaw (lower teeth, tongue), and seen through the opening between the lips.
Knows nothing about the mesh around that opening. The paper has no such part: it belongs to nano.
"""

import cv2
import numpy as np
import skia

from engine.nano.face_mesh import CHIN, INNER_LIPS, HeadFrame, opening_loop, smoothstep, transform
from engine.nano.mouth_palette import OWN_MOUTH_MM, Palette
from engine.nano.sprites import Patch, along, colour, cut_out, rounded
from engine.nano.teeth import TeethRow

SPRITE_SCALE = 2.0  # teeth are painted at this many times the picture's resolution
TEETH_BEHIND_LIPS_MM = 3.0
TONGUE_BEHIND_LIPS_MM = 9.0

# Where the biting edges sit, in millimetres down the face: teeth are bone, only lips uncover them.
UPPER_EDGE_MM = 2.4  # from the line where the lips meet at rest, fixed to the skull
LOWER_EDGE_MM = 0.9  # from the lower lip's rim at rest, fixed to the jaw
ROWS_MEET_MM = 3.0  # by which s and ee bring the lower row nearer to the upper one, behind lips that stay parted
LIP_SINKS = 0.1  # share of the opening by which the lower lip slides down its teeth as the jaw falls
TONGUE_TOP_MM = (2.6, 0.5)  # at rest from the lower lip's rim (jaw); raised from the upper teeth's edge (skull)
TONGUE_SEEN = 0.35  # share of the opening by which one looks over the lower lip onto a resting tongue
FADE_IN_MM = 1.4  # from this opening beyond the portrait's own on, the painted inside is opaque
ARC_STEP_MM, MIN_ARC_COLUMNS = 1.0, 6
HANGS_MM = 0.6  # what lies further below the others' arc is no upper tooth
SHOWN_TEETH_MM2 = 12.0  # a portrait that shows less enamel than this says nothing about where its teeth end


class MouthInterior:
    """Draws the inside of one portrait's mouth into any frame of it."""

    def __init__(self, picture: np.ndarray, rest_px: np.ndarray, frame: HeadFrame, palette: Palette) -> None:
        """picture uint8 RGB [H, W, 3]; rest_px float [468, 3], the portrait's own landmarks."""
        self._rest_px, self._frame, self._palette = rest_px, frame, palette
        self._rest_opening_mm = frame.opening_mm(rest_px)
        upper, lower = rest_px[INNER_LIPS[0][5]], rest_px[INNER_LIPS[1][5]]
        # An open mouth's lips would meet nearer to the upper one, which hardly moves.
        self._meeting_px = upper + 0.25 * (lower - upper)
        self._lower_lip_mm = float((lower - self._meeting_px)[:2] @ frame.down) / frame.px_per_mm
        corners = rest_px[INNER_LIPS[0][-1]] - rest_px[INNER_LIPS[0][0]]
        self._half_width_mm = 0.5 * float(np.linalg.norm(corners)) / frame.px_per_mm
        self._upper, self._lower = (TeethRow(upper, palette, frame.px_per_mm * SPRITE_SCALE) for upper in (True, False))
        self._own_teeth, self._own_edge_mm = self._find_teeth(picture)

    def _find_teeth(self, picture: np.ndarray) -> tuple[Patch, float]:
        """The teeth an open mouth shows, and how far below the painted ones theirs end (0 if it shows none)."""
        px_per_mm = self._frame.px_per_mm
        pixels, inside, corner_px = cut_out(picture, self._rest_px[opening_loop(INNER_LIPS), :2], 2.0)
        blurred = cv2.GaussianBlur(pixels, (0, 0), max(0.3 * px_per_mm, 0.3)).astype(np.float64)
        size = 2 * round(0.8 * px_per_mm) + 1
        teeth = cv2.morphologyEx(inside * self._palette.tooth_likeness(blurred), cv2.MORPH_CLOSE, np.ones((size, size)))
        teeth = teeth * smoothstep(self._rest_opening_mm, *OWN_MOUTH_MM) * self._palette.shows_teeth
        edge_mm = 0.0
        if (teeth > 0.5).sum() > SHOWN_TEETH_MM2 * px_per_mm**2:
            teeth, edge_mm = self._upper_row(teeth, inside, corner_px)
        return Patch(pixels, inside * cv2.GaussianBlur(teeth, (0, 0), max(0.2 * px_per_mm, 0.3)), corner_px), edge_mm

    def _upper_row(self, teeth: np.ndarray, inside: np.ndarray, corner_px: tuple[int, int]) -> tuple[np.ndarray, float]:
        """Of what looks like teeth [h, w], the upper row: all that lies above the arc of its biting edges.

        Lower teeth, a tongue's or a lip's gloss hang below that arc; they do not belong to the skull.
        """
        px_per_mm, down = self._frame.px_per_mm, self._frame.down
        rows, columns = np.indices(teeth.shape)
        offsets = (np.dstack([columns, rows]) + corner_px - self._meeting_px[:2]) / px_per_mm
        x, y = offsets @ np.array([down[1], -down[0]]), offsets @ down
        column = np.round(x / ARC_STEP_MM).astype(int)
        known = [k for k in np.unique(column) if (teeth[column == k] > 0.5).sum() * ARC_STEP_MM > px_per_mm]
        places = np.array([k * ARC_STEP_MM for k in known])
        lowest = np.array([np.percentile(y[(column == k) & (teeth > 0.5)], 95) for k in known])
        kept = np.ones(len(known), dtype=bool)
        arc = np.array([0.0, 0.0, float(np.median(lowest))])
        for _ in range(4):
            if kept.sum() < MIN_ARC_COLUMNS:
                break
            arc = np.polyfit(places[kept], lowest[kept], 2)
            kept = lowest - np.polyval(arc, places) < HANGS_MM
        above = 1 - smoothstep(y - np.polyval(arc, x), -0.2, 0.2)
        between = (x >= places.min()) & (x <= places.max())
        return np.maximum(teeth, 0.999 * between * inside) * above, max(0.0, float(arc[2]) - UPPER_EDGE_MM)

    def draw(self, canvas: skia.Canvas, target_px: np.ndarray, head: np.ndarray, teeth: float, tongue: float) -> None:
        """Draw what is seen between the lips of `target_px` [468, 3]; head [3, 4] moves rest points with the skull.

        Everything is continuous in the inputs: nothing is painted while the lips are no further apart than at rest,
        and the inside fades in as they part. A portrait's own teeth stay behind its closing lips.
        """
        opening_mm = self._frame.opening_mm(target_px)
        painted = float(smoothstep(opening_mm - self._rest_opening_mm, 0.0, FADE_IN_MM))
        opening = rounded(target_px[opening_loop(INNER_LIPS), :2])
        canvas.save()
        canvas.clipPath(opening, skia.ClipOp.kIntersect, True)
        if painted > 0:
            bounds = opening.getBounds().makeOutset(2, 2)
            canvas.saveLayerAlpha(bounds, round(255 * painted))
            self._paint(canvas, bounds, target_px, head, opening_mm=opening_mm, teeth=teeth, tongue=tongue)
            canvas.restore()
        self._own_teeth.draw(canvas, head, float(self._meeting_px[2]))
        if painted > 0:
            self._shade(canvas, opening, painted)
            self._wet(canvas, target_px[list(INNER_LIPS[1]), :2], painted)
        canvas.restore()

    def _paint(self, canvas: skia.Canvas, bounds: skia.Rect, target_px: np.ndarray, head: np.ndarray, *,
               opening_mm: float, teeth: float, tongue: float) -> None:  # fmt: skip
        chin = list(CHIN)
        jaw_px = (target_px[chin] - transform(head, self._rest_px[chin])).mean(0)
        light = 0.92 + 0.08 * float(smoothstep(opening_mm, 0.0, 9.0))  # less light falls into a smaller opening
        upper_mm = UPPER_EDGE_MM + self._own_edge_mm
        lower_mm = LOWER_EDGE_MM + self._lower_lip_mm - LIP_SINKS * opening_mm
        lower_mm -= ROWS_MEET_MM * float(smoothstep(teeth, 0.5, 1.0))
        resting_mm = self._lower_lip_mm + TONGUE_TOP_MM[0] - TONGUE_SEEN * opening_mm
        low = self._place(head, jaw_px, np.array([[0.0, resting_mm, TONGUE_BEHIND_LIPS_MM]]))[0]
        high = self._place(head, 0.0, np.array([[0.0, upper_mm + TONGUE_TOP_MM[1], TONGUE_BEHIND_LIPS_MM]]))[0]

        shades = [colour(self._palette.throat * s) for s in (1.1, 0.8, 1.1)]
        ends = [skia.Point(bounds.centerX(), bounds.top()), skia.Point(bounds.centerX(), bounds.bottom())]
        canvas.drawRect(bounds, skia.Paint(Shader=skia.GradientShader.MakeLinear(ends, shades, [0.0, 0.55, 1.0])))
        self._paint_tongue(canvas, low + tongue * (high - low), light * (1.0 + 0.1 * tongue))
        for row, jaw, edge_mm, share in ((self._lower, jaw_px, lower_mm, 0.88), (self._upper, 0.0, upper_mm, 1.0)):
            shifted = row.outline_mm + np.array([0.0, edge_mm, TEETH_BEHIND_LIPS_MM])
            row.draw(canvas, self._place(head, jaw, shifted), light * share)

    def _place(self, head: np.ndarray, jaw_px: np.ndarray | float, offsets_mm: np.ndarray) -> np.ndarray:
        """Points given in millimetres from where the lips meet [N, 3] → pixels [N, 2]."""
        return (transform(head, self._meeting_px + offsets_mm @ self._frame.axes_px) + jaw_px)[:, :2]

    def _paint_tongue(self, canvas: skia.Canvas, top_px: np.ndarray, light: float) -> None:
        px_per_mm = self._frame.px_per_mm
        half_width, height = 0.62 * self._half_width_mm * px_per_mm, 22.0 * px_per_mm
        shades = [colour(self._palette.tongue * s * light) for s in (0.72, 1.0, 0.8)]
        ends = [skia.Point(0, 0), skia.Point(0, 0.5 * height)]
        paint = skia.Paint(
            AntiAlias=True,
            Shader=skia.GradientShader.MakeLinear(ends, shades, [0.0, 0.3, 1.0]),
            MaskFilter=skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, 0.7 * px_per_mm),
        )
        canvas.save()
        canvas.translate(*top_px.tolist())
        canvas.rotate(float(np.degrees(np.arctan2(-self._frame.down[0], self._frame.down[1]))))
        body = skia.Rect.MakeXYWH(-half_width, 0, 2 * half_width, height)
        canvas.drawRoundRect(body, half_width, 9.0 * px_per_mm, paint)
        canvas.restore()

    def _wet(self, canvas: skia.Canvas, rim_px: np.ndarray, painted: float) -> None:
        """The lower lip's inner side, which an opening mouth turns outwards, along its rim [11, 2]: moist and dark."""
        rim = along(rim_px)
        for width_mm, tone, strength in ((2.4, 0.66, 0.75), (0.5, 1.25, 0.3)):
            canvas.drawPath(rim, self._stroke(width_mm, 0.25, colour(self._palette.lip * tone, strength * painted)))

    def _shade(self, canvas: skia.Canvas, opening: skia.Path, painted: float) -> None:
        """The shadow the lips throw on what lies behind them, deeper under the upper lip."""
        for drop_mm, width_mm, strength in ((1.4, 3.6, 0.42), (0.3, 1.0, 0.2)):
            canvas.save()
            canvas.translate(*(self._frame.down * drop_mm * self._frame.px_per_mm).tolist())
            canvas.drawPath(
                opening, self._stroke(width_mm, 0.5, colour(self._palette.cavity * 0.6, strength * painted))
            )
            canvas.restore()

    def _stroke(self, width_mm: float, softness: float, colour_: int) -> skia.Paint:
        """A line whose blur is `softness` of its width."""
        width_px = width_mm * self._frame.px_per_mm
        return skia.Paint(
            AntiAlias=True,
            Style=skia.Paint.kStroke_Style,
            StrokeWidth=width_px,
            Color=colour_,
            MaskFilter=skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, softness * width_px),
        )
