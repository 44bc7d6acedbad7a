"""SyncNet (Chung & Zisserman, "Out of time", 2016) behind its published weights, which the user brings.

Two small networks put five frames of a face and the 0.2 s of sound beside them into one space of 1024 dimensions; the
shift of the sound that brings both nearest is the lag, and how much nearer that is than the median shift the
confidence. Layer names and sizes are those of `syncnet_v2.model`; a file with others is refused. Departure: the face
crop comes from FaceMesh's landmarks instead of a detector of its own, so confidences are near, not equal, to published.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import scipy.fft
import torch
from torch import Tensor, nn

from engine.contract.errors import UserError
from engine.media.audio import SAMPLE_RATE_HZ

CROP_PX = 224
CROP_OF_FACE = 1.6
"""Side of the square round a face over its landmarks' longer side; published crops leave 40 % round a detected box."""
WINDOW_FRAMES = 5
MAX_LAG = 15
MFCC_PER_FRAME = 4
_BATCH = 20


class SyncNet(nn.Module):
    """The two networks under their published names."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _sound_layers()
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = _face_layers()

    @classmethod
    @cache
    def load(cls, path: Path) -> Self:
        """From `syncnet_v2.model`. Raises UserError for a file that is missing or something else."""
        if not path.is_file():
            raise UserError(
                f"SyncNet's weights {path} do not exist; get syncnet_v2.model from its authors, or use --sync mesh.",
                "syncnet",
            )
        network = cls()
        try:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
            raise UserError(
                f"{path.name} is not SyncNet's syncnet_v2.model ({reason}); download it again, or use --sync mesh.",
                "syncnet",
            ) from error
        return network.eval().requires_grad_(False)

    def measure(
        self, frames: Iterable[np.ndarray], landmarks_px: np.ndarray, wave: np.ndarray
    ) -> tuple[int, float, float]:
        """Lag in frames (positive: lips behind the sound), confidence (Sync-C) and distance (Sync-D) of a clip.

        `frames` uint8 RGB and `landmarks_px` [F, 468, 3] at 25 per second, `wave` float32 at 16 kHz.
        """
        faces = torch.from_numpy(np.stack(list(_face_crops(frames, landmarks_px)))).permute(3, 0, 1, 2)
        sound = torch.from_numpy(mfcc(wave))
        count = min(faces.shape[1], sound.shape[1] // MFCC_PER_FRAME) - WINDOW_FRAMES
        lips, voice = [], []
        for start in range(0, count, _BATCH):
            at = range(start, min(count, start + _BATCH))
            lips.append(self._lips(torch.stack([faces[:, t : t + WINDOW_FRAMES] for t in at]).float()))
            step = MFCC_PER_FRAME
            voice.append(self._voice(torch.stack([sound[None, :, t * step : (t + WINDOW_FRAMES) * step] for t in at])))
        return lag_and_confidence(torch.cat(lips), torch.cat(voice))

    def _lips(self, windows: Tensor) -> Tensor:
        return self.netfclip(self.netcnnlip(windows).flatten(1))

    def _voice(self, windows: Tensor) -> Tensor:
        return self.netfcaud(self.netcnnaud(windows).flatten(1))


def lag_and_confidence(lips: Tensor, voice: Tensor) -> tuple[int, float, float]:
    """The lag, its confidence and its mean distance from features [n, 1024] of both; zeros stand beyond the ends."""
    padded = nn.functional.pad(voice, (0, 0, MAX_LAG, MAX_LAG))
    shifted = padded.unfold(0, len(voice), 1).permute(0, 2, 1)
    distances = (lips - shifted + 1e-6).norm(dim=2).mean(dim=1)
    best = int(distances.argmin())
    return MAX_LAG - best, float(distances.median() - distances[best]), float(distances[best])


def mfcc(wave: np.ndarray) -> np.ndarray:
    """Float32 [13, n], 100 a second: pre-emphasis .97, frames of 25 ms without a window, 26 mel bands up to 8 kHz,
    cepstra liftered by 22, the first replaced by the log energy; of samples on the scale of 16-bit integers."""
    samples = np.append(wave[0], wave[1:] - 0.97 * wave[:-1]) * 32768.0
    length, hop, size, bands, kept = 400, 160, 512, 26, 13
    count = 1 + max(0, int(np.ceil((len(samples) - length) / hop)))
    padded = np.pad(samples, (0, max(0, (count - 1) * hop + length - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop][:count]
    power = np.abs(np.fft.rfft(windows, size)) ** 2 / size
    tiny = np.finfo(float).eps
    energy = np.maximum(power.sum(axis=1), tiny)
    cepstra = scipy.fft.dct(np.log(np.maximum(power @ _mel_bank(size, bands).T, tiny)), norm="ortho")[:, :kept]
    cepstra *= 1 + 11 * np.sin(np.pi * np.arange(kept) / 22)
    cepstra[:, 0] = np.log(energy)
    return np.ascontiguousarray(cepstra.T, np.float32)


@cache
def _mel_bank(size: int, bands: int) -> np.ndarray:
    """Triangles between whole bins, [bands, size / 2 + 1]."""
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700), bands + 2)
    edges = np.floor((size + 1) * 700 * (10 ** (mels / 2595) - 1) / SAMPLE_RATE_HZ).astype(int)
    bank = np.zeros((bands, size // 2 + 1))
    for band in range(bands):
        low, middle, high = edges[band : band + 3]
        bank[band, low:middle] = (np.arange(low, middle) - low) / max(1, middle - low)
        bank[band, middle:high] = (high - np.arange(middle, high)) / max(1, high - middle)
    return bank


def _face_crops(frames: Iterable[np.ndarray], landmarks_px: np.ndarray):
    """Squares round the face, smoothed in time, BGR [CROP_PX, CROP_PX, 3] as the network was trained on."""
    low, high = landmarks_px[:, :, :2].min(axis=1), landmarks_px[:, :, :2].max(axis=1)
    centres, sides = (low + high) / 2, (high - low).max(axis=1) * CROP_OF_FACE
    for index, frame in enumerate(frames):
        near = slice(max(0, index - 6), index + 7)
        (x, y), side = np.median(centres[near], axis=0), float(np.median(sides[near]))
        place = np.array([[side / CROP_PX, 0, x - side / 2], [0, side / CROP_PX, y - side / 2]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        yield cv2.warpAffine(frame, place, (CROP_PX, CROP_PX), flags=flags, borderValue=(110, 110, 110))[
            :, :, ::-1
        ].copy()


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


def _sound_layers() -> nn.Sequential:
    """[n, 1, 13, 20] → [n, 512, 1, 1]."""
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, padding, pool in (
        (1, 64, (3, 3), (1, 1), nn.MaxPool2d((1, 1), (1, 1))),
        (64, 192, (3, 3), (1, 1), nn.MaxPool2d((3, 3), (1, 2))),
        (192, 384, (3, 3), (1, 1), None),
        (384, 256, (3, 3), (1, 1), None),
        (256, 256, (3, 3), (1, 1), nn.MaxPool2d((3, 3), (2, 2))),
        (256, 512, (5, 4), (0, 0), None),
    ):
        layers += [nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [pool] if pool else []
    return nn.Sequential(*layers)


def _face_layers() -> nn.Sequential:
    """[n, 3, 5, 224, 224] → [n, 512, 1, 1, 1]."""
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride, padding, pool in (
        (3, 96, (5, 7, 7), 2, 0, nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
        (96, 256, (1, 5, 5), 2, 1, nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))),
        (256, 256, (1, 3, 3), 1, 1, None),
        (256, 256, (1, 3, 3), 1, 1, None),
        (256, 256, (1, 3, 3), 1, 1, nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
        (256, 512, (1, 6, 6), 1, 0, None),
    ):
        convolution = nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), (0, padding, padding))
        layers += [convolution, nn.BatchNorm3d(outputs), nn.ReLU()]
        layers += [pool] if pool else []
    return nn.Sequential(*layers)
