"""The denoising loop: from noise to a clip's latents, one scheduler step for the whole clip at a time.

    for every tau:  v = sum of guidance coefficient times branch, each branch blended over its windows
                    x <- scheduler step along v

No files, no settings but those of sampling, guidance and attention; knows nothing about faces, audio or prompts.
Departure: a window sees a reference slot in front of its content (see `engine.sampling.tasks`), as nano was trained.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from engine.sampling.guidance import AUDIBLE, UNCONDITIONAL, coefficients, guide
from engine.sampling.long_video import OVERLAP_LATENT_FRAMES, Window, blend, blend_weights, plan_windows
from engine.sampling.phda import modal_weights
from engine.sampling.schedulers import make_scheduler
from engine.sampling.tasks import to_video_frames
from engine.settings import Settings

MAX_ROWS = 8
"""Windows times branches in one forward at the most; more cost memory and gain nothing on a CPU."""

Watch = Callable[[float, Tensor | None], None]
"""Called with the steps done: after every forward, and at each step's end with the estimate of the clean latents
[1, 16, T, h, w]. It may raise `Cancelled`."""


@dataclass(frozen=True)
class Conditions:
    """All the transformer is told about a clip of T latent and F = 4 (T - 1) + 1 video frames."""

    reference: Tensor
    """The picture's latent [1, 16, 1, h, w]; latent frame 0 of the clip is exactly this."""
    known: Tensor
    """Mask and masked latents of the clip [1, 20, T, h, w]."""
    slot: Tensor
    """Mask and masked latents in front of a window that does not begin the clip [1, 20, 1, h, w]."""
    text: Tensor
    """The prompt [1, L, C_text]."""
    negative_text: Tensor
    """The negative prompt [1, L, C_text]."""
    image: Tensor
    """The picture's tokens [1, N, C_image]."""
    audio: Tensor
    """Speech features, any whole number of tokens per video frame: [1, 2F, C_audio] or [1, F, 5, layers, C_audio].
    Zeros of that shape are the null condition."""
    face_mask: Tensor | None = None
    """Where audio may act, [1, tokens of a latent frame]; None is everywhere."""


@torch.inference_mode()
def denoise(
    transformer: nn.Module,
    clip: Conditions,
    settings: Settings,
    *,
    window_latent_frames: int,
    seed: int,
    watch: Watch,
    workers: int = 1,
) -> Tensor:
    """Integrate the guided flow of the whole clip; returns its latents [1, 16, T, h, w].

    `seed` draws the noise on the CPU, so that a seed means the same clip on every device. `workers` forwards run at a
    time: on a busy CPU that is many times faster than one forward with as many threads, which wait for each other.
    """
    frames, (height, width) = clip.known.shape[2], clip.known.shape[-2:]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, clip.reference.shape[1], frames, height, width, generator=generator).to(clip.reference)
    windows = plan_windows(1, frames, window_latent_frames, OVERLAP_LATENT_FRAMES)
    blending = blend_weights(windows)
    steps = settings.sampling.steps
    scheduler: Any = make_scheduler(settings.sampling.solver, settings.sampling.shift, steps)

    x = noise
    with ThreadPoolExecutor(workers) as pool:
        for step, tau in enumerate(scheduler.timesteps):
            sigma = float(scheduler.sigmas[step])
            scales = coefficients(settings.guidance, step, steps)
            rows = [(branch, window) for branch in scales for window in windows]
            size = min(MAX_ROWS, -(-len(rows) // workers))
            chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
            forward = partial(
                _velocity, transformer=transformer, clip=clip, settings=settings, x=x, noise=noise, sigma=sigma, tau=tau
            )
            predictions: list[Tensor] = []
            for prediction in pool.map(forward, chunks):
                predictions.append(prediction)
                watch(step + len(predictions) / len(chunks), None)
            branches = dict(zip(scales, torch.cat(predictions).chunk(len(scales)), strict=True))
            velocity = _join(guide(scales, branches), windows, blending)
            watch(step + 1, x - sigma * velocity)
            x = scheduler.step(velocity, tau, x, return_dict=False)[0]
    return torch.cat([clip.reference, x[:, :, 1:]], dim=2)


@torch.inference_mode()
def _velocity(
    rows: list[tuple[str, Window]],
    *,
    transformer: nn.Module,
    clip: Conditions,
    settings: Settings,
    x: Tensor,
    noise: Tensor,
    sigma: float,
    tau: Tensor,
) -> Tensor:
    """What the transformer predicts for every (branch, window), [rows, 16, 1 + length, h, w]."""
    count = len(rows)
    velocity: Tensor = transformer(
        torch.cat([_window_input(x, noise, sigma, clip, window) for _, window in rows]),
        tau.to(x).expand(count),
        torch.cat([clip.negative_text if branch == UNCONDITIONAL else clip.text for branch, _ in rows]),
        clip.image.expand(count, -1, -1),
        encoder_hidden_states_audio=torch.cat([_window_audio(clip, branch, window) for branch, window in rows]),
        modal_weights=modal_weights(settings.phda, float(tau)).to(x).expand(count, -1),
        face_mask=None if clip.face_mask is None else clip.face_mask.expand(count, -1),
        audio_scale=settings.audio_scale,
        return_dict=False,
    )[0]
    return velocity


def _window_input(x: Tensor, noise: Tensor, sigma: float, clip: Conditions, window: Window) -> Tensor:
    """What the transformer reads for a window: its slot and its content, [1, 36, 1 + length, h, w]."""
    begins_clip = window.start == 1
    moment = x[:, :, :1] if begins_clip else (1 - sigma) * clip.reference + sigma * noise[:, :, :1]
    known = clip.known[:, :, :1] if begins_clip else clip.slot
    content = slice(window.start, window.stop)
    latents = torch.cat([moment, x[:, :, content]], dim=2)
    return torch.cat([latents, torch.cat([known, clip.known[:, :, content]], dim=2)], dim=1)


def _window_audio(clip: Conditions, branch: str, window: Window) -> Tensor:
    """The features of a window's video frames and of the frame before them, which is its slot's; zeros are silence."""
    tokens_per_frame = clip.audio.shape[1] // to_video_frames(clip.known.shape[2])
    first, last = to_video_frames(window.start) - 1, to_video_frames(window.stop) - 1
    heard = clip.audio[:, tokens_per_frame * first : tokens_per_frame * (last + 1)]
    return heard if branch == AUDIBLE else torch.zeros_like(heard)


def _join(predictions: Tensor, windows: list[Window], blending: Tensor) -> Tensor:
    """The clip's velocity: the first window's slot is latent 0, the windows' contents are blended behind it."""
    return torch.cat([predictions[:1, :, :1], blend(predictions[:, :, 1:], windows, blending)], dim=2)
