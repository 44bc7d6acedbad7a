"""What happens at which timestep: PhDA's weights, PNG's boosts, and where the denoising steps lie.

The one home of these formulas: the denoising loop, the trainings and the page ask here. Torch-free, pure functions of
settings. Convention: tau in (0, 1000], high = noisy = early.
"""

from typing import NamedTuple

from engine.contract.settings import (
    LiveSettings,
    PhaseBreakpoints,
    PhaseNegativeSettings,
    PhDASettings,
    SamplingSettings,
)

MODALITIES = ("text", "image", "audio")
"""The order of modal weights, everywhere."""
FLOOR = 0.5
"""What a modality weighs outside its phase (paper, Eq. 2)."""
REFERENCE_STEPS = 3
"""How often the public code multiplies the negative embeddings by 1.5 before it leaves them there."""
REFERENCE_BOOST = 1.5
TRAINING_LEVELS = 1000
"""Noise levels of the schedule that the models were trained on; tau counts them."""


def modality_weight(breakpoints: PhaseBreakpoints, tau: float) -> float:
    """Eq. 2: FLOOR below `low`, 1 from `high` on, linear between; (0, 0) is always 1."""
    low, high = breakpoints.low, breakpoints.high
    if tau >= high:
        return 1.0
    return FLOOR if tau <= low else FLOOR + (1 - FLOOR) * (tau - low) / (high - low)


def modality_weights(settings: PhDASettings, tau: float) -> tuple[float, ...]:
    """The weights of MODALITIES at `tau`; ones where PhDA is off."""
    if not settings.enabled:
        return (1.0,) * len(MODALITIES)
    return tuple(modality_weight(getattr(settings, name), tau) for name in MODALITIES)


class Boosts(NamedTuple):
    """What PNG's two groups are multiplied by at a step; also the name of that text."""

    motion: float
    detail: float


def motion_steps(num_steps: int, settings: PhaseNegativeSettings) -> int:
    """How many steps, from the first, the motion phase lasts: max(1, round(share · N)), none for a share of 0."""
    return max(1, round(settings.motion_share * num_steps)) if settings.motion_share else 0


def boosts(step: int, num_steps: int, tau: float, settings: PhaseNegativeSettings) -> Boosts | None:
    """PNG's weights at `step` (from 0) of `num_steps`, at timestep `tau` in (0, 1000]; None where PNG is off.

    phase: `boost` for the motion group in the first steps, for the detail group below `detail_below`, else 1.
    reference: both groups 1.5, 2.25, 3.375 in the first three steps and 3.375 from there on.
    """
    match settings.mode:
        case "off":
            return None
        case "reference":
            compounded = REFERENCE_BOOST ** min(step + 1, REFERENCE_STEPS)
            return Boosts(compounded, compounded)
        case "phase":
            return Boosts(
                settings.boost if step < motion_steps(num_steps, settings) else 1.0,
                settings.boost if tau < settings.detail_below else 1.0,
            )


def step_taus(sampling: SamplingSettings) -> list[float]:
    """Tau of every denoising step, descending, as the solver has it: sigma = s·u / (1 + (s − 1)·u), tau = 1000·sigma.

    The solvers differ in where u, evenly spaced, begins and ends; the multistep ones round tau down, to 999 at most.
    """
    steps, least = sampling.steps, 1 / TRAINING_LEVELS
    match sampling.solver:
        case "euler":  # down to the shifted least level, which is then shifted once more
            last = _shifted(least, sampling.shift)
            levels = [1 - index * (1 - last) / max(1, steps - 1) for index in range(steps)]
            return [TRAINING_LEVELS * _shifted(level, sampling.shift) for level in levels]
        case "unipc":
            levels = [1 - index * (1 - least) / steps for index in range(steps)]
        case "dpm++":
            levels = [(1 - least) * (1 - index / steps) for index in range(steps)]
    return [min(999.0, TRAINING_LEVELS * _shifted(level, sampling.shift) // 1) for level in levels]


def at_steps(sampling: SamplingSettings, live: LiveSettings) -> dict[str, list[float]]:
    """By "text", "image", "audio", "motion" and "detail": what each weighs at every step. PNG's are ones where it is
    off."""
    taus = step_taus(sampling)
    modal = [modality_weights(live.phda, tau) for tau in taus]
    negative = [boosts(step, len(taus), tau, live.png) or Boosts(1.0, 1.0) for step, tau in enumerate(taus)]
    weights = {name: [row[place] for row in modal] for place, name in enumerate(MODALITIES)}
    return weights | {"motion": [pair.motion for pair in negative], "detail": [pair.detail for pair in negative]}


def _shifted(level: float, shift: float) -> float:
    return shift * level / (1 + (shift - 1) * level)
