"""Soup-of-Tasks in training: which task a sample is, stage by stage, and what of it the model is told.

Hard tasks first, easy ones joining later (paper, section on training). The masks are the engine's own; knows nothing
about losses or optimisers. Departure: nano has no text-to-video, whose share the others take.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from engine.nano.face_motion import lip_cells
from engine.sampling.tasks import (
    first_last_frame,
    grey_but_the_end,
    image_to_video,
    lip_sync,
    reference_slot,
    to_video_frames,
)

IMAGE_TO_VIDEO, FIRST_LAST_FRAME, LIP_SYNC = "image-to-video", "first-last-frame", "lip-sync"
TEXT_TO_VIDEO = "text-to-video"
MAX_LATENT_FRAMES = 29
"""Of a clip of a released model: 113 frames, the paper's."""
LIP_SHARES = (0.0, 0.20, 0.35)
"""Of lip-sync in the three stages; the other shares are scaled by what it leaves."""
NANO_HARD = {IMAGE_TO_VIDEO: 0.65, FIRST_LAST_FRAME: 0.35}
RELEASED_HARD = {IMAGE_TO_VIDEO: 0.60, FIRST_LAST_FRAME: 0.30, TEXT_TO_VIDEO: 0.10}
"""The shares of stage 1."""
TRACKING_NOISE = 0.05
"""Deviation of the noise on a film's known values, in standard deviations: landmarks that are tracked tremble."""


def mixture(lip_share: float, hard: Mapping[str, float] = NANO_HARD) -> dict[str, float]:
    """The share of each task where lip-sync has `lip_share` in [0, 1]; together they are 1."""
    if not 0 <= lip_share <= 1:
        raise ValueError(f"a share must be in [0, 1]; got {lip_share}")
    shares = {task: share * (1 - lip_share) for task, share in hard.items()} | {LIP_SYNC: lip_share}
    return {task: share for task, share in shares.items() if share > 0}


SCHEDULES: dict[str, tuple[dict[str, float], ...]] = {
    "hard-to-easy": tuple(mixture(share) for share in LIP_SHARES),
    "easy-to-hard": tuple(mixture(share) for share in reversed(LIP_SHARES)),
    "uniform": (mixture(sum(LIP_SHARES) / len(LIP_SHARES)),) * len(LIP_SHARES),
}
"""The stages' mixtures by the schedule's name; the paper's is the first, the others are its ablations."""


def draw_tasks(shares: Mapping[str, float], size: int, random: np.random.Generator) -> np.ndarray:
    """The task of each of `size` samples, strings [size]."""
    return random.choice(list(shares), size=size, p=list(shares.values()))


def conditions(
    x0: Tensor, tasks: np.ndarray, continuous: np.ndarray, known_at_end: np.ndarray, noise: torch.Generator
) -> Tensor:
    """Mask and masked latents [B, 20, T, h, w] of a batch of clips `x0` [B, 16, T, h, w], the picture in latent 0.

    `continuous` [B] tells whether the clip goes on from the picture (1111) or shows the same face at another moment
    (1000), `known_at_end` [B] how many last frames first-last-frame knows. Lip-sync always has the picture out of time.
    """
    built = {IMAGE_TO_VIDEO: _image_to_video, FIRST_LAST_FRAME: _first_last_frame, LIP_SYNC: _lip_sync}
    rows = []
    for index, task in enumerate(tasks):
        clip = x0[index : index + 1]
        row = built[str(task)](clip, int(known_at_end[index]), noise)
        in_time = bool(continuous[index]) and task != LIP_SYNC
        rows.append(row if in_time else torch.cat([reference_slot(clip[:, :, :1]), row[:, :, 1:]], dim=2))
    return torch.cat(rows)


def _image_to_video(clip: Tensor, known_at_end: int, noise: torch.Generator) -> Tensor:
    return image_to_video(clip[:, :, :1], to_video_frames(clip.shape[2]))


def _first_last_frame(clip: Tensor, known_at_end: int, noise: torch.Generator) -> Tensor:
    last = grey_but_the_end(clip[:, :, -1:], known_at_end)
    return first_last_frame(clip[:, :, :1], last, to_video_frames(clip.shape[2]), known_at_end)


def _lip_sync(clip: Tensor, known_at_end: int, noise: torch.Generator) -> Tensor:
    generate = lip_cells()
    seen = clip + TRACKING_NOISE * torch.randn(clip.shape, generator=noise)
    return lip_sync(seen * (1 - generate), generate[None, None])
