"""The denoising loop: from noise to a clip's latents, one scheduler step for the whole clip at a time.

    for every tau:  v = sum over branches and windows of guidance coefficient · blend weight · prediction
                    x <- scheduler step along v

x and v are float32 whatever the transformer computes in, and v is summed as predictions come, so that a long clip costs
a few times its latents. No files, no settings but those of sampling, guidance and attention; knows nothing about faces,
audio or prompts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from engine.contract.errors import StopEarly
from engine.contract.phases import boosts
from engine.contract.settings import LiveSettings, Settings
from engine.sampling.forwards import Conditions, Forwards, Moment
from engine.sampling.guidance import UNCONDITIONAL, coefficients, with_one_text
from engine.sampling.long_video import Window, add_window, blend_weights, left_weights, plan_windows
from engine.sampling.phda import modal_weights
from engine.sampling.schedulers import make_scheduler
from engine.sampling.step_cache import step_cache

Watch = Callable[[float, Tensor | None], None]
"""Called with the steps done: after every forward, and at each step's end with the estimate of the clean latents
[1, 16, T, h, w]. It may raise `Cancelled`, or `StopEarly` to end with the estimate of the step that is running."""


SEED_STRIDE = 7919
"""From one window's noise to the next one's, where windows are denoised apart."""


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

    def known(self, known: Tensor) -> Tensor:
        """The clip's mask and masked latents [1, 20, T, h, w] with every frame outside the stretch known."""
        channels = known.shape[1] - self.latents.shape[1]
        finished = torch.cat([torch.ones_like(known[:, :channels]), self.latents.to(known)], dim=1)
        return torch.where(self._outside(known), finished, known)

    def keep(self, x: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """`x` with everything outside the stretch at its finished values, at noise level `sigma`."""
        return torch.where(self._outside(x), (1 - sigma) * self.latents.to(x) + sigma * noise, x)

    def touched(self, windows: list[Window]) -> list[Window]:
        """The windows that hold a part of the stretch: no other need be computed."""
        return [window for window in windows if window.start < self.stop and self.start < window.stop]

    def _outside(self, like: Tensor) -> Tensor:
        outside = torch.ones(like.shape[2], dtype=torch.bool, device=like.device)
        outside[self.start : self.stop] = False
        return outside[:, None, None]


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
    hear_window: Callable[[Window, Tensor], None] | None = None,
) -> Tensor:
    """Integrate the guided flow of the whole clip; returns its latents [1, 16, T, h, w].

    `seed` draws the noise on the CPU, so that a seed means the same clip on every device. `live` is asked at the
    beginning of every step for the settings that may change. With a `stretch` its neighbours are known to the model,
    through the task mask, and kept. Where windows are denoised apart, `hear_window` hears each one's own latents before
    they are cross-faded.
    """
    video = settings.long_video
    if stretch:
        clip = replace(clip, known=stretch.known(clip.known))
    length = video.window_latent_frames or window_latent_frames
    overlap = min(video.overlap_latent_frames, length - 1)
    windows = plan_windows(clip.first_content, clip.known.shape[2], length, overlap)
    windows = stretch.touched(windows) if stretch else windows

    def integrate(windows: list[Window], seed: int, watch: Watch, keeper: StepKeeper | None) -> Tensor:
        with step_cache(transformer, settings.cache, settings.sampling.steps) as cache:
            forwards = Forwards(
                transformer, clip, windows, settings.audio_scale, workers, cache, settings.cache.conditions
            )
            asked = live or (lambda step: settings.live)
            return _integrate(forwards, settings, seed, live=asked, watch=watch, keeper=keeper, stretch=stretch)

    if video.mode != "off" or stretch:
        x = integrate(windows, seed, watch, keeper)
    else:
        x = _cross_faded(windows, integrate, seed, watch, hear_window)
    return x if clip.reference is None else torch.cat([clip.reference.to(x), x[:, :, 1:]], dim=2)


def _integrate(
    forwards: Forwards,
    settings: Settings,
    seed: int,
    *,
    live: Callable[[int], LiveSettings],
    watch: Watch,
    keeper: StepKeeper | None,
    stretch: Stretch | None,
) -> Tensor:
    """The loop itself, over `forwards.windows`."""
    steps, windows = settings.sampling.steps, list(forwards.windows)
    blended = dict(zip(windows, blend_weights(windows), strict=True))
    left = dict(zip(windows, left_weights(windows), strict=True))
    is_paper = settings.long_video.mode == "paper"
    scheduler: Any = make_scheduler(settings.sampling.solver, settings.sampling.shift, steps)
    kept = keeper.load(scheduler) if keeper else None
    done, x = 0, _noise(forwards.clip, seed)
    # Of the noise only what the slots see is kept, and all of it for a stretch: a clip's length is a clip's memory.
    slot_noise, noise = x[:, :, :1].clone(), x if stretch else None
    if kept:
        done, x = kept[0], kept[1].to(x, copy=True)
    ends = False
    for step, tau in list(enumerate(scheduler.timesteps))[done:]:
        now, sigma = live(step), float(scheduler.sigmas[step])
        if stretch and noise is not None:
            x = stretch.keep(x, noise, sigma)
        scales = coefficients(now.guidance, step, steps)
        weights, boosted = modal_weights(now.phda, float(tau)), boosts(step, steps, float(tau), now.png)
        moment = Moment(x, slot_noise, sigma, tau, weights, boosted)
        if not is_paper and forwards.has_one_text(boosted):
            scales = with_one_text(scales)

        def report(share: float, step: int = step) -> None:
            nonlocal ends
            try:
                watch(step + share, None)
            except StopEarly:
                ends = True

        velocity = torch.zeros_like(x)
        for branch, window, prediction in forwards.predict(list(scales), moment, report):
            rows = left if is_paper and branch == UNCONDITIONAL else blended
            slot = prediction.shape[1] - (window.stop - window.start)
            add_window(velocity, prediction[:, slot:], window, scales[branch] * rows[window])
            if slot and window == windows[0]:
                velocity[0, :, :1] += scales[branch] * prediction[:, :1]
        clean = x - sigma * velocity
        x = scheduler.step(velocity, tau, x, return_dict=False)[0]
        if keeper:
            keeper.save(step + 1, x, scheduler)
        try:
            watch(step + 1, clean)
        except StopEarly:
            ends = True
        if ends:
            return stretch.keep(clean, clean, 0.0) if stretch else clean
    return stretch.keep(x, x, 0.0) if stretch else x


def _cross_faded(
    windows: list[Window],
    integrate: Callable[..., Tensor],
    seed: int,
    watch: Watch,
    hear_window: Callable[[Window, Tensor], None] | None,
) -> Tensor:
    """Long Video CFG off: every window from its own noise to its own end, cross-faded afterwards. The ablation."""
    faded: Tensor | None = None
    for index, (window, weights) in enumerate(zip(windows, blend_weights(windows), strict=True)):

        def part(done: float, clean: Tensor | None, index: int = index) -> None:
            watch((index + done) / len(windows), clean)

        whole = integrate([window], seed + SEED_STRIDE * index, part, None)
        end = whole[:, :, window.start : window.stop]
        faded = torch.zeros_like(whole) if faded is None else faded
        if hear_window:
            hear_window(window, end)
        add_window(faded, end[0], window, weights)
    assert faded is not None
    return faded


def _noise(clip: Conditions, seed: int) -> Tensor:
    channels, frames, height, width = clip.known.shape[1] - 4, *clip.known.shape[2:]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, frames, height, width, generator=generator).to(clip.known.device)
