"""Where the denoising steps lie on the timestep axis, and what the live settings weigh there.

Pure functions of the settings, for the page's curves, so that it needs no torch; the tests hold them against the
engine's own schedulers and PhDA. Convention: τ in (0, 1000], high = noisy = early.
"""

from engine.contract.settings import LiveSettings, PhaseBreakpoints, SamplingSettings, Settings

TRAINING_LEVELS = 1000
"""Noise levels of the schedule that the models were trained on; τ counts them."""
MODALITIES = ("text", "image", "audio")
FLOOR = 0.5
"""What a modality weighs outside its phase (paper, Eq. 2)."""


def step_taus(sampling: SamplingSettings) -> list[float]:
    """τ of every denoising step, descending, as the solver has it: σ = s·u / (1 + (s − 1)·u), τ = 1000·σ.

    The solvers differ in where u, evenly spaced, begins and ends; the multistep ones round τ down, to 999 at most.
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


def modal_weight(breakpoints: PhaseBreakpoints, tau: float) -> float:
    """Eq. 2: 0.5 below `low`, 1 from `high` on, linear between; (0, 0) is always 1."""
    low, high = breakpoints.low, breakpoints.high
    if tau >= high:
        return 1.0
    return FLOOR if tau <= low else FLOOR + (1 - FLOOR) * (tau - low) / (high - low)


def motion_steps(live: LiveSettings, steps: int) -> int:
    """How many steps, from the first, boost the motion group of negative prompts; at least one."""
    return max(1, round(live.png.motion_share * steps))


def idle_notes(settings: Settings) -> dict[str, str]:
    """What of the live settings touches no scheduled step, one sentence by curve: "text", "image", "audio", "png"."""
    taus = step_taus(settings.sampling)
    notes = {}
    if settings.phda.enabled:
        for name in MODALITIES:
            pair: PhaseBreakpoints = getattr(settings.phda, name)
            if 0 < pair.high <= taus[-1]:
                notes[name] = _touches_nothing(pair.high, taus)
    if settings.png.mode == "phase" and settings.png.detail_below <= taus[-1]:
        notes["png"] = _touches_nothing(settings.png.detail_below, taus)
    return notes


def _touches_nothing(tau: float, taus: list[float]) -> str:
    return f"τ {tau:g} touches no scheduled step: the last of {len(taus)} is at τ {taus[-1]:g}."


def _shifted(level: float, shift: float) -> float:
    return shift * level / (1 + (shift - 1) * level)
