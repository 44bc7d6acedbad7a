"""Which live settings touch no scheduled step, said beside the page's curves. The formulas are the contract's."""

from engine.contract.phases import MODALITIES, step_taus
from engine.contract.settings import PhaseBreakpoints, Settings


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
