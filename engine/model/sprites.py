"""Small pictures and shapes drawn over the warped surface, in skia's terms.

Knows nothing about faces: it takes outlines, colours and matrices. The paper has no such part: it belongs to nano.
"""

import cv2
import numpy as np
import skia

SPRITE_SAMPLING = skia.SamplingOptions(skia.CubicResampler.CatmullRom())  # leaves an unmoved picture as it is


class OwnOpening:
    """What a portrait itself shows inside an opening, fixed to the skull, its colours carried on beyond the edge.

    `inset_px` leaves out a rim that may already belong to the lips; the colours then fade out over `fade_px`.
    """

    def __init__(self, picture: np.ndarray, outline_px: np.ndarray, inset_px: float = 0.0, fade_px: float = 0.0) -> None:
        """picture uint8 RGB [H, W, 3]; outline_px [N, 2]: the opening at rest."""
        margin = int(np.ceil(fade_px)) + 3
        height, width = picture.shape[:2]
        x0, y0 = np.clip(np.floor(outline_px.min(0)).astype(int) - margin, 0, [width - 1, height - 1])
        x1, y1 = np.clip(np.ceil(outline_px.max(0)).astype(int) + margin, [x0 + 1, y0 + 1], [width, height])
        crop = picture[y0:y1, x0:x1]
        inside = np.zeros(crop.shape[:2], np.uint8)
        cv2.fillPoly(inside, [np.round((outline_px - [x0, y0] - 0.5) * 16).astype(np.int32)], 1, shift=4)
        depth = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        inside[depth <= min(inset_px, 0.5 * depth.max())] = 0
        distance, nearest = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        colours = np.zeros((nearest.max() + 1, 3), np.uint8)
        colours[nearest[inside > 0]] = crop[inside > 0]
        alpha = np.clip(1.0 - (distance - 1.0) / max(fade_px, 1e-3), 0.0, 1.0)
        self._image = image(np.dstack([colours[nearest], np.round(255 * alpha).astype(np.uint8)]))
        self._corner = float(x0), float(y0)

    def draw(self, canvas: skia.Canvas, head: np.ndarray, z_px: float, share: float) -> None:
        """Draw it where the skull's motion `head` [3, 4] takes the plane at depth `z_px`, with opacity `share`."""
        offset = head[:2, 2] * z_px + head[:2, 3]
        canvas.save()
        canvas.concat(skia.Matrix.MakeAll(*head[0, :2], offset[0], *head[1, :2], offset[1], 0, 0, 1))
        canvas.drawImage(self._image, *self._corner, SPRITE_SAMPLING, skia.Paint(Alphaf=share))
        canvas.restore()


def image(pixels: np.ndarray) -> skia.Image:
    """A skia image of uint8 RGBA [H, W, 4] (colours not multiplied by alpha), copied."""
    return skia.Image.fromarray(np.ascontiguousarray(pixels), colorType=skia.kRGBA_8888_ColorType, copy=True)


def polygon(points_px: np.ndarray) -> skia.Path:
    """The closed path through points [N, 2]."""
    path = skia.Path()
    path.addPoly([skia.Point(x, y) for x, y in points_px.tolist()], True)
    return path


def colour(rgb: np.ndarray, alpha: float = 1.0) -> int:
    """Skia's packed colour of float RGB 0–255."""
    red, green, blue = np.clip(np.round(rgb), 0, 255).astype(int).tolist()
    return skia.ColorSetARGB(round(255 * alpha), red, green, blue)
