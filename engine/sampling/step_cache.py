"""Step caches: skip most of a forward at a step where it would change little.

MagCache, TaylorSeer (lite) and FirstBlockCache are diffusers' own, as hooks on the blocks; TeaCache, which the paper
uses, is here, after its published rule (arXiv 2411.19108). Each keeps its state by the name of a context, one for each
branch and group of windows: without that, branches would be mixed in silence and audio guidance would be zero. Hooks
hold one context at a time, so forwards must not run side by side while a cache is on. Knows nothing about guidance.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig
from torch import Tensor

from engine.contract.settings import CacheSettings

MAG_RATIOS = (
    *(1.0, 1.0124, 1.00166, 0.99791, 0.99682, 0.99634, 0.99567, 0.99416, 0.99578, 0.9957, 0.99511, 0.99535, 0.99552),
    *(0.99541, 0.9954, 0.99489, 0.99518, 0.99484, 0.99481, 0.99415, 0.99419, 0.99396, 0.99388, 0.99349, 0.99309),
    *(0.9927, 0.99228, 0.99171, 0.99137, 0.99068, 0.99005, 0.98944, 0.98849, 0.98758, 0.98644, 0.98504, 0.9836),
    *(0.98202, 0.97977, 0.97717, 0.9741, 0.97003, 0.96538, 0.9593, 0.95086, 0.94013, 0.92402, 0.90241, 0.86821),
    0.81838,
)
"""Size of the blocks' residual at each of 50 steps against the step before, as MagCache (arXiv 2506.09045) measured it
on Wan 2.1 1.3B with its conditional branch; diffusers stretches it to other numbers of steps."""

TEA_POLYNOMIAL = (-5.21862437e04, 9.23041404e03, -5.28275948e02, 1.36987616e01, -4.99875664e-02)
"""TeaCache's fit, for Wan 2.1 1.3B, of how much the output changes to how much the timestep's modulation does; highest
power first."""

MAG_MAX_SKIPS = 3
RETAINED_SHARE = 0.2
"""Of the steps, from the first, at which nothing is skipped: there the motion is decided."""
TAYLOR_INTERVAL = 3
"""TaylorSeer computes every third step and extrapolates between."""


@dataclass
class _TeaState:
    modulation: Tensor | None = None
    residual: Tensor | None = None
    change: float = 0.0
    step: int = 0


@dataclass
class TeaCache:
    """Skips the blocks until the accumulated estimate of their change exceeds `threshold`; then runs them anew.

    A callable for the transformer's `skip_blocks`. `context` names the branch whose state is used.
    """

    threshold: float
    num_steps: int
    context: str = ""
    _states: dict[str, _TeaState] = field(default_factory=dict)

    def __call__(self, tokens: Tensor, modulation: Tensor, run_blocks: Callable[[Tensor], Tensor]) -> Tensor:
        """`tokens` [B, L, D] behind the blocks, computed or estimated; `modulation` is the timestep's."""
        state = self._states.setdefault(self.context, _TeaState())
        if state.modulation is not None:
            relative = float((modulation - state.modulation).abs().mean() / state.modulation.abs().mean())
            state.change += abs(float(np.polyval(TEA_POLYNOMIAL, relative)))
        is_kept = state.step < RETAINED_SHARE * self.num_steps or state.step == self.num_steps - 1
        state.modulation, state.step = modulation, state.step + 1
        if is_kept or state.residual is None or state.change >= self.threshold:
            computed = run_blocks(tokens)
            state.residual, state.change = computed - tokens, 0.0
            return computed
        return tokens + state.residual

    def reset(self) -> None:
        """Forget what was computed, in every context: the condition has changed, or the clip. Steps count on."""
        for state in self._states.values():
            state.residual = state.modulation = None


@dataclass(frozen=True)
class StepCache:
    """The cache that a clip is made with. `skip_blocks` goes to every forward of the transformer."""

    skip_blocks: TeaCache | None
    _enter: Callable[[str], AbstractContextManager[Any]]
    _reset: Callable[[], None]

    def context(self, name: str) -> AbstractContextManager[Any]:
        """Where the forwards of one branch and group of windows run; contexts do not nest."""
        if self.skip_blocks is not None:
            self.skip_blocks.context = name
        return self._enter(name)

    def reset(self) -> None:
        """Forget what was computed: a condition has changed under it."""
        self._reset()


@contextmanager
def step_cache(transformer: Any, settings: CacheSettings, num_steps: int) -> Iterator[StepCache | None]:
    """Put the chosen cache on `transformer` for a clip of `num_steps`, and take it off again; None where it is off."""
    match settings.kind:
        case "off":
            yield None
            return
        case "teacache":
            tea = TeaCache(settings.threshold, num_steps)
            yield StepCache(tea, lambda name: nullcontext(), tea.reset)
            return
        case "magcache":
            config: Any = MagCacheConfig(
                threshold=settings.threshold,
                max_skip_steps=MAG_MAX_SKIPS,
                retention_ratio=RETAINED_SHARE,
                num_inference_steps=num_steps,
                mag_ratios=list(MAG_RATIOS),
            )
        case "taylorseer":
            # The lite mode alone finds our modules: its other patterns match nothing on Wan, in silence.
            config = TaylorSeerCacheConfig(
                cache_interval=TAYLOR_INTERVAL,
                disable_cache_before_step=max(3, round(RETAINED_SHARE * num_steps)),
                taylor_factors_dtype=torch.float32,
                use_lite_mode=True,
            )
        case "first_block":
            config = FirstBlockCacheConfig(threshold=settings.threshold)
    transformer.enable_cache(config)
    try:
        yield StepCache(None, transformer.cache_context, transformer._reset_stateful_cache)
    finally:
        transformer.disable_cache()
