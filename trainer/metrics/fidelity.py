"""How much of the portrait survives in a video frame: luma PSNR away from the face, sharpness of the face.

Works on the luma of uint8 RGB pictures; knows nothing about faces, files or models.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

LUMA_WEIGHTS = np.array([[0.2126, 0.7152, 0.0722]], dtype=np.float32)
"""BT.709, which high-definition video is coded with."""

Picture = NDArray[np.uint8]
Luma = NDArray[np.float32]
BoxPx = tuple[int, int, int, int]


def luma(picture: Picture) -> Luma:
    """Brightness of each pixel of an RGB picture [H, W, 3] on the 0–255 scale: [H, W]."""
    return np.asarray(cv2.transform(picture.astype(np.float32), LUMA_WEIGHTS), dtype=np.float32)


def luma_psnr_db(frame: Luma, reference: Luma, compared: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio of two lumas [H, W] over the pixels `compared`; infinite where they are equal."""
    error = float(np.square(frame - reference).mean(where=compared, dtype=np.float64))
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def sharpness(picture: Luma, box_px: BoxPx) -> float:
    """Variance of the Laplacian of a luma inside the box x0, y0, x1, y1."""
    x0, y0, x1, y1 = box_px
    return float(cv2.Laplacian(picture[y0:y1, x0:x1], cv2.CV_32F).var(dtype=np.float64))
