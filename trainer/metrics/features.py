"""Features of Inception (FID) and I3D (FVD) from the networks' published TorchScript, which the user brings.

Both networks resize and normalise their input themselves, as their published metrics do: nothing is left to our taste.
The files are read only after their hash is found to be the published one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.contract.errors import UserError
from engine.media.video import read_video_frames
from trainer.metrics.frechet import Features
from trainer.metrics.weights import PUBLISHED, check_published

FRAMES_PER_VIDEO = 16
"""Frames of each video that FID looks at, evenly over its length."""
WINDOW_FRAMES = 16
"""Consecutive frames that FVD looks at together, windows side by side."""
_BATCH = 8


@dataclass(frozen=True)
class FeatureNetwork:
    """A published feature extractor: `resize` says in words what it does to its input."""

    name: str
    network: Any
    sha256: str
    resize: str
    options: dict[str, bool]

    @torch.no_grad()
    def __call__(self, batch: NDArray[np.uint8]) -> Features:
        """uint8 [B, H, W, 3] or [B, F, H, W, 3] → [B, C]."""
        channels_first = torch.from_numpy(np.moveaxis(batch, -1, 1).copy()).float()
        return self.network(channels_first, **self.options).flatten(1).double().numpy()


def load_inception(path: Path, published: Path = PUBLISHED) -> FeatureNetwork:
    """Inception v3 of 2015-12-05. Raises UserError for other weights."""
    resize = "inside the network, bilinear to 299×299"
    return _load("inception", path, published, resize, {"return_features": True})


def load_i3d(path: Path, published: Path = PUBLISHED) -> FeatureNetwork:
    """I3D, trained on Kinetics-400. Raises UserError for other weights."""
    resize = "inside the network, bilinear to 224×224"
    return _load("i3d", path, published, resize, {"rescale": True, "resize": True, "return_features": True})


def _load(kind: str, path: Path, published: Path, resize: str, options: dict[str, bool]) -> FeatureNetwork:
    sha256 = check_published(path, kind, published)
    try:
        network = torch.jit.load(path, map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise UserError(f"{path.name} is no TorchScript file ({reason}).", "weights") from None
    return FeatureNetwork(kind, network, sha256, resize, options)


def picture_features(network: FeatureNetwork, path: Path, num_frames: int) -> Features:
    """Of FRAMES_PER_VIDEO frames of the video at `path`, evenly over its `num_frames`: [≤ 16, C]."""
    wanted = set(np.linspace(0, num_frames - 1, min(FRAMES_PER_VIDEO, num_frames)).round().astype(int).tolist())
    chosen = [frame for index, frame in enumerate(read_video_frames(path)) if index in wanted]
    return np.concatenate([network(np.stack(chosen[at : at + _BATCH])) for at in range(0, len(chosen), _BATCH)])


def motion_features(network: FeatureNetwork, path: Path) -> Features:
    """Of every WINDOW_FRAMES frames of the video at `path`, windows side by side: [windows, C].

    Raises UserError for a video shorter than a window.
    """
    features = [network(window[None]) for window in _windows(path)]
    if not features:
        raise UserError(f"{path.name} is shorter than the {WINDOW_FRAMES} frames that FVD looks at.", "video")
    return np.concatenate(features)


def _windows(path: Path) -> Iterator[NDArray[np.uint8]]:
    frames: list[NDArray[np.uint8]] = []
    for frame in read_video_frames(path):
        frames.append(frame)
        if len(frames) == WINDOW_FRAMES:
            yield np.stack(frames)
            frames = []
