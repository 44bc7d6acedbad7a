"""Small pictures and shapes for drawing over the warped surface, and looking up the portrait's own pixels.

Knows nothing about faces: it takes outlines, colours and matrices. The paper has no such part: it belongs to nano.
"""

import cv2
import numpy as np
import skia

SPRITE_SAMPLING = skia.SamplingOptions(skia.CubicResampler.CatmullRom())  # leaves an unmoved picture as it is


class Patch:
    """A piece of the portrait that the skull carries along, whatever the skin over it does."""

    def __init__(self, picture: np.ndarray, alpha: np.ndarray, corner_px: tuple[int, int]) -> None:
        """picture uint8 RGB and alpha float in [0, 1], both [h, w] with their upper left pixel at `corner_px`."""
        self._corner_px = corner_px
        self._image = image(np.dstack([picture, np.round(255 * alpha).astype(np.uint8)]))

    def draw(self, canvas: skia.Canvas, head: np.ndarray, z_px: float) -> None:
        """Draw it where the skull's motion `head` [3, 4] takes the plane at depth `z_px`."""
        offset = head[:2, 2] * z_px + head[:2, 3]
        canvas.save()
        canvas.concat(skia.Matrix.MakeAll(*head[0, :2], offset[0], *head[1, :2], offset[1], 0, 0, 1))
        canvas.drawImage(self._image, *self._corner_px, SPRITE_SAMPLING)
        canvas.restore()


def cut_out(
    picture: np.ndarray, outline_px: np.ndarray, margin_px: float
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """The box round an outline [N, 2] and a margin: its pixels, uint8 [h, w] with 1 inside the outline, its corner."""
    height, width = picture.shape[:2]
    x0, y0 = np.clip(np.floor(outline_px.min(0) - margin_px).astype(int), 0, [width - 1, height - 1]).tolist()
    x1, y1 = np.clip(np.ceil(outline_px.max(0) + margin_px).astype(int), [x0 + 1, y0 + 1], [width, height]).tolist()
    inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(inside, [np.round((outline_px - [x0, y0] - 0.5) * 16).astype(np.int32)], (1,), shift=4)
    return picture[y0:y1, x0:x1], inside, (x0, y0)


def sample(picture: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Float RGB [N, 3] of the pixels under points [N, ≥2], the nearest one for a point outside the picture."""
    height, width = picture.shape[:2]
    x, y = np.clip(points_px[:, :2].astype(int), 0, [width - 1, height - 1]).T
    return picture[y, x].astype(np.float64)


def image(pixels: np.ndarray, opaque: bool = False) -> skia.Image:
    """A skia image of uint8 RGBA [H, W, 4], colours not multiplied by alpha; `opaque` skips alpha, which is faster."""
    alpha_type = skia.kOpaque_AlphaType if opaque else skia.kUnpremul_AlphaType
    return skia.Image.fromarray(np.ascontiguousarray(pixels), skia.kRGBA_8888_ColorType, alpha_type, copy=True)


def polygon(points_px: np.ndarray) -> skia.Path:
    """The closed path through points [N, 2]."""
    path = skia.Path()
    path.addPoly([skia.Point(x, y) for x, y in points_px.tolist()], True)
    return path


def rounded(points_px: np.ndarray) -> skia.Path:
    """The closed path within points [N, 2] that rounds their corners off: from one edge's middle to the next one's."""
    path, (middles, corners) = skia.Path(), (0.5 * (points_px + np.roll(points_px, -1, 0)), np.roll(points_px, -1, 0))
    path.moveTo(*middles[0].tolist())
    for corner, middle in zip(corners.tolist(), np.roll(middles, -1, 0).tolist(), strict=True):
        path.quadTo(*corner, *middle)
    path.close()
    return path


def along(points_px: np.ndarray) -> skia.Path:
    """The open path through points [N, 2]."""
    path = skia.Path()
    path.addPoly([skia.Point(x, y) for x, y in points_px.tolist()], False)
    return path


def colour(rgb: np.ndarray, alpha: float = 1.0) -> int:
    """Skia's packed colour of float RGB 0–255."""
    red, green, blue = np.clip(np.round(rgb), 0, 255).astype(int).tolist()
    return skia.ColorSetARGB(round(255 * alpha), red, green, blue)


def packed_colours(rgb: np.ndarray, alpha: np.ndarray) -> list[int]:
    """Skia's packed colours of float RGB [N, 3] in 0–255 with `alpha` [N] in [0, 1]: what `colour` is for one."""
    red, green, blue = np.clip(np.round(rgb), 0, 255).astype(np.int64).T
    return (np.round(255 * alpha).astype(np.int64) << 24 | red << 16 | green << 8 | blue).tolist()
