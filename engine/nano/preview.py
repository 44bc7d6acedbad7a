"""A small moving picture of the face as it would look now, while the clip is still being denoised.

About a second of video from the estimate of the clean latents, drawn on a reduced crop of the portrait by the same
decoder and warp as the final frames. Knows nothing about denoising.
"""

import io

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from engine.contract.motion_edit import MotionEdit
from engine.contract.variants import FPS
from engine.media.person import person_matte
from engine.nano.face_motion import FaceMotion, FaceMotionAutoencoder, FaceReference
from engine.nano.face_warp import FaceWarp
from engine.nano.life import Life
from engine.sampling.tasks import FRAMES_PER_LATENT

WIDTH_PX = 256
MARGIN = 0.45
"""How much is shown around the landmarks' box, as a fraction of its longer side."""
EVERY_NTH_FRAME = 4
NUM_FRAMES = 7
EDIT_FRAMES = 30
"""How many frames answer an edit, at full rate: a third of them before the moment that is asked about."""
LATENTS = 1 + NUM_FRAMES
"""One latent frame holds four video frames, so one drawn frame each; the first is not drawn."""


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
        landmarks_px = self._to_crop(reference.landmarks_px)
        self._warp = FaceWarp(crop, landmarks_px, person_matte(crop, landmarks_px))

    def paint(self, latents: Tensor, life: Life) -> bytes:
        """An animated WebP of about a second from the middle of the clip `latents` [1, 16, T, h, w] with its `life`."""
        start = max(0, (latents.shape[2] - LATENTS) // 2)
        shown = latents[:, :, start : start + LATENTS]
        first = FRAMES_PER_LATENT * start
        lived = life.part(first, first + FRAMES_PER_LATENT * (shown.shape[2] - 1) + 1)
        motion = self._autoencoder.decode_motion(shown, self._reference, lived)
        chosen = range(min(EVERY_NTH_FRAME, len(motion.landmarks_px) - 1), len(motion.landmarks_px), EVERY_NTH_FRAME)
        return self._animated(motion, chosen, EVERY_NTH_FRAME)

    def paint_at(self, latents: Tensor, life: Life, edit: MotionEdit, at: int, num_frames: int) -> bytes:
        """An animated WebP of every frame round the frame `at` of a clip of `num_frames`, its motion edited."""
        motion = self._autoencoder.decode_motion(latents, self._reference, life, edit)
        start = max(0, min(at - EDIT_FRAMES // 3, num_frames - EDIT_FRAMES))
        return self._animated(motion, range(start, min(start + EDIT_FRAMES, num_frames)), 1)

    def _animated(self, motion: FaceMotion, chosen: range, every: int) -> bytes:
        landmarks_px = self._to_crop(motion.landmarks_px)
        frames = [
            Image.fromarray(
                self._warp.render(
                    landmarks_px[i],
                    float(motion.teeth[i]),
                    float(motion.tongue[i]),
                    look_mm=motion.gaze[i],
                    body=motion.body[i],
                )
            )
            for i in chosen
        ]
        file = io.BytesIO()
        duration_ms = 1000 * every // FPS
        frames[0].save(
            file, "WEBP", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, quality=70, method=0
        )
        return file.getvalue()

    def _to_crop(self, landmarks_px: np.ndarray) -> np.ndarray:
        return ((landmarks_px - self._origin_px) * self._scale).astype(np.float32)
