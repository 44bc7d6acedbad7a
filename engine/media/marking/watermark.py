"""The watermark: a faint, tiled, band-passed pattern in the luma of every frame, and its search.

No weights. The tile is the same for all, so it says "made by EchoMimic Studio" and nothing of who made it; whoever
reads this can also remove it. It is found in the sum of the frames by normalised correlation, over scales; a cut only
shifts a tiling, and one Fourier transform looks at all shifts at once.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.fft import fft2, ifft2

TILE_PX = 96
KEY = b"EchoMimic Studio watermark 1"
AMPLITUDE = 1.4
"""Root mean square of the pattern in levels of full-range luma: 45 dB below white."""
SHORTEST_PX, LONGEST_PX = 5.0, 14.0
"""Wavelengths of the pattern: coarser than what re-encoding drops, finer than faces are."""
SCALES = np.geomspace(0.45, 2.2, 530)
"""How the pattern may have been scaled, 0.3 % apart: a tiling fades when it drifts by a third of a wavelength."""
MOST_FRAMES, SIDE_PX = 150, 640
"""What is looked at: the first frames, and the middle of them where they are larger."""
THRESHOLD = 7.0
"""In standard deviations of the correlations at all other shifts."""


@dataclass(frozen=True)
class Finding:
    """The best correlation `z` in standard deviations, at `scale` of the written size."""

    z: float
    scale: float

    @property
    def found(self) -> bool:
        """Whether `z` is at or above the threshold."""
        return self.z >= THRESHOLD


@lru_cache(maxsize=1)
def tile() -> np.ndarray:
    """The pattern, float32 [TILE_PX, TILE_PX], mean 0, root mean square 1, seamless where it repeats."""
    noise = np.frombuffer(hashlib.shake_256(KEY).digest(TILE_PX**2), np.uint8).reshape(TILE_PX, TILE_PX)
    across = np.fft.fftfreq(TILE_PX)
    frequency = np.hypot(across[:, None], across[None])
    band = (frequency >= 1 / LONGEST_PX) & (frequency <= 1 / SHORTEST_PX)
    spectrum = fft2(noise.astype(np.float64))
    pattern = ifft2(np.where(band, spectrum / np.maximum(np.abs(spectrum), 1e-9), 0)).real
    return (pattern / pattern.std()).astype(np.float32)


@lru_cache(maxsize=8)
def _cover(height: int, width: int, levels: float) -> np.ndarray:
    """The pattern over a whole picture, int16 [height, width], of `levels` root mean square."""
    times = (-(-height // TILE_PX), -(-width // TILE_PX))
    cover = np.rint(np.tile(tile(), times)[:height, :width] * levels).astype(np.int16)
    cover.flags.writeable = False
    return cover


def mark_luma(luma: np.ndarray, *, span: float = 255.0) -> None:
    """Add the pattern to `luma`, uint8 [H, W], in place; `span` is white minus black in its levels."""
    cover = _cover(*luma.shape, AMPLITUDE * span / 255)
    np.copyto(luma, cv2.add(luma, cover, dtype=cv2.CV_8U))


def mark_rgb(frame: np.ndarray) -> np.ndarray:
    """The uint8 RGB [H, W, 3] `frame` with the pattern in its luma, the colours as they are."""
    cover = _cover(*frame.shape[:2], AMPLITUDE)
    return cv2.add(frame, cv2.merge([cover] * 3), dtype=cv2.CV_8U)


def find(frames: Iterable[np.ndarray], scales: np.ndarray = SCALES) -> Finding:
    """Look for the pattern in uint8 RGB frames [H, W, 3] of one size, at all shifts and `scales`."""
    total: np.ndarray | None = None
    for number, frame in enumerate(frames):
        if number == MOST_FRAMES:
            break
        luma = cv2.cvtColor(_middle(frame), cv2.COLOR_RGB2GRAY).astype(np.float32)
        total = luma if total is None else total + luma
        count = number + 1
    if total is None or min(total.shape) < TILE_PX // 2:
        return Finding(0.0, 1.0)
    mean = total / count
    # What is left beside the pattern is the picture's own detail; edges, a few strong values, would drown it.
    detail = mean - cv2.GaussianBlur(mean, (0, 0), 3.0)
    detail = np.clip(detail, -2 * AMPLITUDE, 2 * AMPLITUDE)
    pattern = np.conj(fft2(tile()))
    best = Finding(0.0, 1.0)
    for scale in scales:
        z = _z(detail, float(scale), pattern)
        if z > best.z:
            best = Finding(z, float(scale))
    return best


def _middle(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    top, left = max(0, height - SIDE_PX) // 2, max(0, width - SIDE_PX) // 2
    return np.ascontiguousarray(frame[top : top + SIDE_PX, left : left + SIDE_PX])


def _z(detail: np.ndarray, scale: float, pattern: np.ndarray) -> float:
    size = (round(detail.shape[1] / scale), round(detail.shape[0] / scale))
    if min(size) < TILE_PX // 2:
        return 0.0
    turn = np.array([[1 / scale, 0, 0], [0, 1 / scale, 0]])
    even = cv2.warpAffine(detail, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    padded = np.pad(even, ((0, -size[1] % TILE_PX), (0, -size[0] % TILE_PX)))
    tiles = padded.reshape(padded.shape[0] // TILE_PX, TILE_PX, -1, TILE_PX).sum((0, 2))
    spectrum = fft2(tiles)
    # Every frequency counts the same: a picture's own stripes would outweigh the rest.
    correlation = ifft2(spectrum / np.maximum(np.abs(spectrum), 1e-9) * pattern).real
    return float((correlation.max() - correlation.mean()) / correlation.std())
