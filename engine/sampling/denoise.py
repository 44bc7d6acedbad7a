"""The denoising loop: from noise to a clip's latents, one scheduler step for the whole clip at a time.

    for every tau:  v = sum of guidance coefficient times branch, each branch blended over its windows
                    x <- scheduler step along v

No files, no settings but those of sampling, guidance and attention; knows nothing about faces, audio or prompts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from engine.errors import StopEarly
from engine.sampling.forwards import Conditions, Forwards, Moment
from engine.sampling.guidance import UNCONDITIONAL, coefficients, guide
from engine.sampling.long_video import Window, blend, blend_weights, left_weights, plan_windows
from engine.sampling.phase_negative import boosts
from engine.sampling.phda import modal_weights
from engine.sampling.schedulers import make_scheduler
from engine.sampling.step_cache import step_cache
from engine.settings import LiveSettings, Settings

Watch = Callable[[float, Tensor | None], None]
"""Called with the steps done: after every forward, and at each step's end with the estimate of the clean latents
[1, 16, T, h, w]. It may raise `Cancelled`, or `StopEarly` to end with the estimate of the step that is running."""


class StepKeeper(Protocol):
    """Where the state of a clip is kept after each step, so that a killed job goes on from there."""

    def load(self, scheduler: Any) -> tuple[int, Tensor] | None:
        """The steps done and the latents behind them, the scheduler put back into that state; None to begin."""

    def save(self, steps_done: int, x: Tensor, scheduler: Any) -> None:
        """Keep the state behind a step, or nothing of it."""


@dataclass(frozen=True)
class Stretch:
    """A part of a finished clip to be made anew: latent frames [start, stop) of `latents` [1, 16, T, h, w]."""

    latents: Tensor
    start: int
    stop: int

    def keep(self, x: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """`x` with everything outside the stretch at its finished values, at noise level `sigma`."""
        outside = torch.ones(x.shape[2], dtype=torch.bool)
        outside[self.start : self.stop] = False
        return torch.where(outside[:, None, None].to(x.device), (1 - sigma) * self.latents + sigma * noise, x)


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
    live: Callable[[int], LiveSettings] | None = None,
    keeper: StepKeeper | None = None,
    stretch: Stretch | None = None,
) -> Tensor:
    """Integrate the guided flow of the whole clip; returns its latents [1, 16, T, h, w].

    `seed` draws the noise on the CPU, so that a seed means the same clip on every device. `live` is asked at the
    beginning of every step for the settings that may change. With a `stretch` its neighbours are known and kept.
    """
    video = settings.long_video
    noise = _noise(clip, seed)
    length = video.window_latent_frames or window_latent_frames
    windows = plan_windows(clip.first_content, noise.shape[2], length, min(video.overlap_latent_frames, length - 1))

    def integrate(windows: list[Window], noise: Tensor, watch: Watch, keeper: StepKeeper | None) -> Tensor:
        with step_cache(transformer, settings.cache, settings.sampling.steps) as cache:
            forwards = Forwards(
                transformer, clip, windows, noise, settings.audio_scale, workers, cache, settings.cache.conditions
            )
            asked = live or (lambda step: settings.live)
            return _integrate(forwards, settings, live=asked, watch=watch, keeper=keeper, stretch=stretch)

    if video.mode != "off":
        x = integrate(windows, noise, watch, keeper)
    else:
        x = _cross_faded(
            windows, integrate, watch, [_noise(clip, seed + 7919 * index) for index in range(len(windows))]
        )
    return x if clip.reference is None else torch.cat([clip.reference, x[:, :, 1:]], dim=2)


def _integrate(
    forwards: Forwards,
    settings: Settings,
    *,
    live: Callable[[int], LiveSettings],
    watch: Watch,
    keeper: StepKeeper | None,
    stretch: Stretch | None,
) -> Tensor:
    """The loop itself, over `forwards.windows`."""
    steps, noise, windows = settings.sampling.steps, forwards.noise, list(forwards.windows)
    blended = blend_weights(windows)
    weights_of = {UNCONDITIONAL: left_weights(windows)} if settings.long_video.mode == "paper" else {}
    scheduler: Any = make_scheduler(settings.sampling.solver, settings.sampling.shift, steps)
    kept = keeper.load(scheduler) if keeper else None
    done, x = kept or (0, noise)
    ends = False
    for step, tau in list(enumerate(scheduler.timesteps))[done:]:
        now, sigma = live(step), float(scheduler.sigmas[step])
        if stretch:
            x = stretch.keep(x, noise, sigma)
        scales = coefficients(now.guidance, step, steps)
        moment = Moment(x, sigma, tau, modal_weights(now.phda, float(tau)), boosts(step, steps, float(tau), now.png))

        def report(share: float, step: int = step) -> None:
            nonlocal ends
            try:
                watch(step + share, None)
            except StopEarly:
                ends = True

        branches = forwards.predict(list(scales), moment, report)
        joined = {
            name: _join(prediction, windows, weights_of.get(name, blended), forwards.clip)
            for name, prediction in branches.items()
        }
        velocity = _placed(guide(scales, joined), windows, x)
        clean = x - sigma * velocity
        try:
            watch(step + 1, clean)
        except StopEarly:
            ends = True
        if ends:
            return clean
        x = scheduler.step(velocity, tau, x, return_dict=False)[0]
        if keeper:
            keeper.save(step + 1, x, scheduler)
    return stretch.keep(x, noise, 0.0) if stretch else x


def _join(predictions: Tensor, windows: list[Window], weights: Tensor, clip: Conditions) -> Tensor:
    """A branch's velocity over its windows; the first one's slot, where there is one, is latent 0."""
    if clip.reference is None:
        return blend(predictions, windows, weights)
    return torch.cat([predictions[:1, :, :1], blend(predictions[:, :, 1:], windows, weights)], dim=2)


def _placed(velocity: Tensor, windows: list[Window], x: Tensor) -> Tensor:
    """`velocity` at its place among the frames of `x`, where the windows do not cover all of it."""
    if velocity.shape[2] == x.shape[2]:
        return velocity
    whole = torch.zeros_like(x)
    covered = windows[-1].stop - windows[0].start
    whole[:, :, windows[0].start : windows[-1].stop] = velocity[:, :, velocity.shape[2] - covered :]
    return whole


def _cross_faded(windows: list[Window], integrate: Callable[..., Tensor], watch: Watch, noises: list[Tensor]) -> Tensor:
    """Long Video CFG off: every window from its own noise to its own end, cross-faded afterwards. The ablation."""
    ends = []
    for index, (window, noise) in enumerate(zip(windows, noises, strict=True)):

        def part(done: float, clean: Tensor | None, index: int = index) -> None:
            watch((index + done) / len(windows), clean)

        ends.append(integrate([window], noise, part, None)[:, :, window.start : window.stop])
    faded = blend(torch.cat(ends), windows, blend_weights(windows))
    return torch.cat([noises[0][:, :, : windows[0].start], faded], dim=2)


def _noise(clip: Conditions, seed: int) -> Tensor:
    channels, frames, height, width = clip.known.shape[1] - 4, *clip.known.shape[2:]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, frames, height, width, generator=generator).to(clip.known)
