"""Three-branch classifier-free guidance over text and audio (paper, section on inference).

    v = v_u + g_t (v_t - v_u) + g_a (v_ta - v_t)

with u = (negative text, null audio), t = (text, null audio) and ta = (text, audio).

Pure functions of scales and predictions; knows nothing about models, windows or schedulers. Written as a sum of
coefficient times branch, so that a branch whose coefficient is zero need not be evaluated at all.
"""

import math

from engine.contract.settings import GuidanceSettings

BRANCHES = UNCONDITIONAL, WORDS_ONLY, AUDIBLE = "u", "t", "ta"
"""Negative text and null audio, text and null audio, text and audio."""


def dynamic_scale(scale: float, step: int, num_steps: int) -> float:
    """`scale` at the first step, falling along a cosine towards `scale / 2` at the last; `step` counts from 0."""
    remaining = ((num_steps - step) / num_steps) ** 5
    return scale / 2 + scale / 2 * (1 - math.cos(math.pi * remaining)) / 2


def scales(settings: GuidanceSettings, step: int, num_steps: int) -> tuple[float, float]:
    """The text and audio scales at `step` (from 0): the early phase's, which may fall, or behind it the late one's."""
    if step >= settings.early_share * num_steps:
        return settings.late_text, settings.late_audio
    if settings.dynamic:
        return dynamic_scale(settings.text, step, num_steps), dynamic_scale(settings.audio, step, num_steps)
    return settings.text, settings.audio


def coefficients(settings: GuidanceSettings, step: int, num_steps: int) -> dict[str, float]:
    """The coefficient of every branch that must be evaluated at `step`, by name; together they are 1.

    1 - g_t for u, g_t - g_a for t, g_a for ta; a branch with a coefficient of exactly zero is left out. With both
    scales at 1 only ta is left, with equal scales t drops out.
    """
    text, audio = scales(settings, step, num_steps)
    every = dict(zip(BRANCHES, (1.0 - text, text - audio, audio), strict=True))
    return {name: value for name, value in every.items() if value != 0.0}


def with_one_text(branches: dict[str, float]) -> dict[str, float]:
    """The same sum where the negative text is the text: u is t then, and need not be evaluated beside it."""
    words = branches.get(UNCONDITIONAL, 0.0) + branches.get(WORDS_ONLY, 0.0)
    merged = {WORDS_ONLY: words, AUDIBLE: branches.get(AUDIBLE, 0.0)}
    return {name: value for name, value in merged.items() if value != 0.0}
