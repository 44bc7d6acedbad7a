"""How much of the portrait survives in a video frame: luma PSNR away from the face, sharpness of the face.

Works on uint8 RGB pictures [H, W, 3] of one size; knows nothing about faces, files or models.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

LUMA_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])
"""BT.709, which high-definition video is coded with."""

Picture = NDArray[np.uint8]
BoxPx = tuple[int, int, int, int]


def luma(picture: Picture) -> NDArray[np.float64]:
    """Brightness of each pixel on the 0–255 scale: [H, W]."""
    return picture @ LUMA_WEIGHTS


def luma_psnr_db(frame: Picture, reference: Picture, compared: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio of the luma over the pixels `compared` [H, W]; infinite where they are equal."""
    error = np.square(luma(frame) - luma(reference))[compared].mean()
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def sharpness(picture: Picture, box_px: BoxPx) -> float:
    """Variance of the Laplacian of the luma inside the box x0, y0, x1, y1."""
    x0, y0, x1, y1 = box_px
    return float(cv2.Laplacian(luma(picture[y0:y1, x0:x1]), cv2.CV_64F).var())
