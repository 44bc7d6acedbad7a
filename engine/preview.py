"""A small moving picture of the face as it would look now, while the clip is still being denoised.

About a second of video from the estimate of the clean latents, drawn on a reduced crop of the portrait by the same
decoder and warp as the final frames. Knows nothing about denoising.
"""

import io

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from engine.model.face_motion import FaceMotionAutoencoder, FaceReference
from engine.model.face_warp import FaceWarp
from engine.variants import FPS

WIDTH_PX = 256
MARGIN = 0.45
"""How much is shown around the landmarks' box, as a fraction of its longer side."""
EVERY_NTH_FRAME = 4
NUM_FRAMES = 7
LATENTS = 1 + NUM_FRAMES
"""One latent frame holds four video frames, so one drawn frame each; the first is not drawn."""


LATENT_TO_RGB = np.array(
    [
        [-0.1299, -0.1692, 0.2932],
        [0.0671, 0.0406, 0.0442],
        [0.3568, 0.2548, 0.1747],
        [0.0372, 0.2344, 0.1420],
        [0.0313, 0.0189, -0.0328],
        [0.0296, -0.0956, -0.0665],
        [-0.3477, -0.4059, -0.2925],
        [0.0166, 0.1902, 0.1975],
        [-0.0412, 0.0267, -0.1364],
        [-0.1293, 0.0740, 0.1636],
        [0.0680, 0.3019, 0.1128],
        [0.0032, 0.0581, 0.0639],
        [-0.1251, 0.0927, 0.1699],
        [0.0060, -0.0633, 0.0005],
        [0.3477, 0.2275, 0.2950],
        [0.1984, 0.0913, 0.1861],
    ],
    np.float32,
)
LATENT_TO_RGB_OFFSET = np.array([-0.1835, -0.0868, -0.3360], np.float32)
"""Rough colours of Wan 2.1's latents: the linear map that ComfyUI publishes for its previews."""


def latent_picture(latent: Tensor) -> np.ndarray:
    """One latent frame [16, h, w] as a rough picture, uint8 RGB [h, w, 3]."""
    colours = latent.permute(1, 2, 0).numpy() @ LATENT_TO_RGB + LATENT_TO_RGB_OFFSET
    return np.clip((colours + 1) * 127.5, 0, 255).astype(np.uint8)


class FacePreview:
    """Paints previews of one clip; the crop and its warp are made once."""

    def __init__(self, autoencoder: FaceMotionAutoencoder, reference: FaceReference) -> None:
        self._autoencoder = autoencoder
        self._reference = reference
        height, width = reference.picture.shape[:2]
        points = reference.landmarks_px[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        margin = MARGIN * float((high - low).max())
        x0, y0 = np.clip(np.floor(low - margin), 0, None).astype(int)
        x1, y1 = np.clip(np.ceil(high + margin), 1, (width, height)).astype(int)
        self._scale = min(1.0, WIDTH_PX / (x1 - x0))
        self._origin_px = np.array([x0, y0, 0], dtype=np.float32)
        size = (max(1, round((x1 - x0) * self._scale)), max(1, round((y1 - y0) * self._scale)))
        crop = cv2.resize(reference.picture[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
        self._warp = FaceWarp(crop, self._to_crop(reference.landmarks_px))

    def paint(self, latents: Tensor) -> bytes:
        """An animated WebP of about a second from the middle of the clip `latents` [1, 16, T, h, w]."""
        start = max(0, (latents.shape[2] - LATENTS) // 2)
        motion = self._autoencoder.decode_motion(latents[:, :, start : start + LATENTS], self._reference)
        chosen = range(min(EVERY_NTH_FRAME, len(motion.landmarks_px) - 1), len(motion.landmarks_px), EVERY_NTH_FRAME)
        landmarks_px = self._to_crop(motion.landmarks_px)
        frames = [
            Image.fromarray(self._warp.render(landmarks_px[i], float(motion.teeth[i]), float(motion.tongue[i])))
            for i in chosen
        ]
        file = io.BytesIO()
        duration_ms = 1000 * EVERY_NTH_FRAME // FPS
        frames[0].save(
            file, "WEBP", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, quality=70, method=0
        )
        return file.getvalue()

    def _to_crop(self, landmarks_px: np.ndarray) -> np.ndarray:
        return ((landmarks_px - self._origin_px) * self._scale).astype(np.float32)
