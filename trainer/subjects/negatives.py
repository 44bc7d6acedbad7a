"""Negatives for nano: labelled clips as the latents and conditions that they were generated from, window by window.

A negative is what the sampler really made: its final latents, kept beside the clip, under the very picture, voice,
words, mask and phase weights of its generation, cut into the windows in which the model saw it. A label's span and
region become a mask over the latents; what was known is never counted. Knows nothing about losses or optimisers.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from engine.contract.settings import LiveSettings, PhDASettings, Settings
from engine.nano.model import NanoModel
from engine.sampling.denoise import Conditions
from engine.sampling.long_video import plan_windows
from engine.sampling.phda import modal_weights
from engine.sampling.schedulers import make_scheduler
from engine.sampling.tasks import FRAMES_PER_LATENT
from trainer.loop.flow import FlowBatch

Phases = tuple[tuple[float, PhDASettings], ...]
"""The phase weights in force at each timestep of a generation; one entry where they never changed."""


EVERY_TAU = (0.0, 1000.0)


@dataclass(frozen=True)
class Negative:
    """One window of a clip that should not be made again: T latent frames, the picture in latent 0."""

    latents: Tensor
    """[16, T, 8, 8]."""
    known: Tensor
    """Mask and masked latents [20, T, 8, 8]."""
    audio: Tensor
    """[F, 5, 1, channels]."""
    mask: Tensor
    """[1, T, 8, 8], 1 where the error counts."""
    prompt: str
    phda: Phases
    tau_range: tuple[float, float] = EVERY_TAU
    """The timesteps at which it is unlearned."""
    weight: float = 1.0
    """What its loss counts."""


def negatives_of(
    clip: Conditions,
    latents: Tensor,
    bad: Tensor,
    prompt: str,
    settings: Settings,
    *,
    window_latent_frames: int,
    settings_by_step: Sequence[LiveSettings] = (),
    tau_range: tuple[float, float] = EVERY_TAU,
    weight: float = 1.0,
) -> list[Negative]:
    """The windows of a generated clip in which something is bad.

    `clip` is what `denoise` was given, `latents` [1, 16, T, h, w] what it returned, `bad` (see `bad_latents`) what of
    it is bad, 1 or 0, [T], [T, 1, 1] or [T, h, w]. Windows in which all that is bad was known beforehand are left out.
    """
    assert clip.reference is not None and clip.slot is not None, "nano always has a picture"
    bad = bad.reshape(-1, 1, 1) if bad.ndim == 1 else bad
    unknown = 1 - clip.known[0, :FRAMES_PER_LATENT].amin(dim=0)
    mask = (bad.to(latents) * unknown)[None]
    length = settings.long_video.window_latent_frames or window_latent_frames
    overlap = min(settings.long_video.overlap_latent_frames, length - 1)
    phda = phases(settings, settings_by_step)
    found = []
    for window in plan_windows(clip.first_content, latents.shape[2], length, overlap):
        content = slice(window.start, window.stop)
        if not bool(mask[:, content].any()):
            continue
        # As `engine.sampling.forwards` shows a window: the picture in front, in time where the clip begins.
        front = clip.known[:, :, :1] if window.start == clip.first_content else clip.slot
        heard = slice(FRAMES_PER_LATENT * (window.start - 1), FRAMES_PER_LATENT * (window.stop - 1) + 1)
        found.append(
            Negative(
                latents=torch.cat([clip.reference, latents[:, :, content]], dim=2)[0],
                known=torch.cat([front, clip.known[:, :, content]], dim=2)[0],
                audio=clip.audio[0, heard],
                mask=torch.cat([torch.zeros_like(mask[:, :1]), mask[:, content]], dim=1),
                prompt=prompt,
                phda=phda,
                tau_range=tau_range,
                weight=weight,
            )
        )
    return found


def phases(settings: Settings, by_step: Sequence[LiveSettings]) -> Phases:
    """Those of a generation with `settings`, and with those of each step where they were changed."""
    if not by_step:
        return ((0.0, settings.phda),)
    sampling = settings.sampling
    scheduler = make_scheduler(sampling.solver, sampling.shift, sampling.steps)
    return tuple((float(tau), now.phda) for tau, now in zip(scheduler.timesteps, by_step, strict=True))


def weights_at(tau: float, by_step: Phases) -> Tensor:
    """Modal weights [3] by the settings of the step nearest to `tau`."""
    _, settings = min(by_step, key=lambda step: abs(step[0] - tau))
    return modal_weights(settings, tau)


def bad_latents(latent_frames: int, spans: Iterable[tuple[int, int]], *, first_content: int = 1) -> Tensor:
    """1 for every latent frame that holds a video frame of one of the `spans` [start, stop), float32 [T].

    Latent 0 holds frame 0. With `first_content` 1 it is the picture, never bad: a span that holds nothing else counts
    for the latent behind.
    """
    bad = torch.zeros(latent_frames)
    for start, stop in spans:
        first, last = (-(-frame // FRAMES_PER_LATENT) for frame in (start, max(start, stop - 1)))
        bad[max(first_content, first) : max(first_content, last) + 1] = 1.0
    return bad


class AnyNegative(Protocol):
    """A negative of any model."""

    @property
    def latents(self) -> Tensor:
        """[16, T, h, w]."""

    @property
    def tau_range(self) -> tuple[float, float]:
        """The timesteps at which it is unlearned, low and high."""

    @property
    def weight(self) -> float:
        """What its loss counts."""


N = TypeVar("N", bound=AnyNegative)


def draw_negatives(
    by_shape: Mapping[Any, Sequence[N]], seed: int, step: int, size: int, tau_shift: float
) -> tuple[list[N], Tensor, Tensor]:
    """`size` negatives of one shape, their noise levels [size] and their noise, keyed by (seed, step, index); shapes in
    proportion to how many have them. Levels are uniform before the shift, each within its negative's timesteps."""
    shapes = sorted(by_shape)
    counts = np.array([len(by_shape[shape]) for shape in shapes])
    drawn = np.random.default_rng([seed, 5, step]).choice(len(shapes), p=counts / counts.sum())
    group = by_shape[shapes[int(drawn)]]
    chosen, levels, noise = [], [], []
    for index in range(size):
        random = np.random.default_rng([seed, 6, step, index])
        chosen.append(group[random.integers(len(group))])
        low, high = (_unshifted(tau / 1000, tau_shift) for tau in chosen[-1].tau_range)
        levels.append(low + (high - low) * random.random())
        noise.append(random.standard_normal(chosen[-1].latents.shape, np.float32))
    uniform = torch.tensor(levels, dtype=torch.float32)
    return chosen, tau_shift * uniform / (1 + (tau_shift - 1) * uniform), torch.from_numpy(np.stack(noise))


def _unshifted(sigma: float, shift: float) -> float:
    """u of σ = s·u / (1 + (s − 1)·u)."""
    return sigma / (shift - (shift - 1) * sigma)


def weights_of(chosen: Sequence[AnyNegative]) -> Tensor:
    """What the loss of each counts, [B]."""
    return torch.tensor([negative.weight for negative in chosen])


class NegativePool:
    """The negatives of a block; draws are keyed by (seed, step, index)."""

    def __init__(self, negatives: Sequence[Negative], seed: int, model: NanoModel) -> None:
        """`model` knows the prompts' words. Raises ValueError where there are no negatives."""
        if not negatives:
            raise ValueError("a block of Negative-DPO needs negatives")
        self._by_length: dict[int, list[Negative]] = {}
        for negative in negatives:
            self._by_length.setdefault(negative.latents.shape[1], []).append(negative)
        self._seed, self._model = seed, model

    def sha256(self) -> str:
        """Of everything in the pool."""
        digest = hashlib.sha256()
        for negative in (negative for group in self._by_length.values() for negative in group):
            for tensor in (negative.latents, negative.known, negative.audio, negative.mask):
                digest.update(np.ascontiguousarray(tensor.float().numpy()).tobytes())
            digest.update(f"{negative.prompt} {negative.phda} {negative.tau_range} {negative.weight}".encode())
        return digest.hexdigest()

    def draw(self, step: int, size: int, tau_shift: float) -> FlowBatch:
        """`size` negatives of one length with their noise."""
        chosen, sigma, eps = draw_negatives(self._by_length, self._seed, step, size, tau_shift)
        x0 = torch.stack([negative.latents for negative in chosen])
        ones = torch.ones(size, 1, 1)
        return FlowBatch(
            x0,
            eps,
            sigma,
            {
                "known": torch.stack([negative.known for negative in chosen]),
                "tokens": self._model.text_encoder.tokens([negative.prompt for negative in chosen]),
                "keep_text": ones,
                "reference": x0[:, :, :1],
                "keep_image": ones,
                "audio": torch.stack([negative.audio for negative in chosen]),
                "modal_weights": torch.stack(
                    [
                        weights_at(1000 * float(level), negative.phda)
                        for negative, level in zip(chosen, sigma, strict=True)
                    ]
                ),
            },
            mask=torch.stack([negative.mask for negative in chosen]),
            weight=weights_of(chosen),
        )
