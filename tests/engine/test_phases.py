"""The contract's phases are what the engine's schedulers, PhDA and PNG do, step by step."""

import pytest

from engine.contract.phases import at_steps, modality_weight, step_taus
from engine.contract.settings import LiveSettings, PhaseBreakpoints, PhaseNegativeSettings, SamplingSettings
from engine.sampling.phda import PhaseSchedule, modal_weights
from engine.sampling.schedulers import SOLVERS, make_scheduler


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 8, 25])
def test_the_marked_steps_are_the_schedulers_own(solver: str, shift: float, steps: int):
    expected = make_scheduler(solver, shift, steps).timesteps.tolist()
    assert step_taus(SamplingSettings(solver=solver, shift=shift, steps=steps)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("low_high", [(0, 0), (200, 400), (600, 600), (0, 1000)])
def test_eq_2_is_a_piecewise_linear_schedule(low_high: tuple[float, float]):
    pair = PhaseBreakpoints(low=low_high[0], high=low_high[1])
    schedule = PhaseSchedule.from_breakpoints(*low_high)
    for tau in range(1, 1001, 7):
        assert modality_weight(pair, tau) == pytest.approx(schedule(tau))


@pytest.mark.parametrize("share", [0.0, 0.12, 0.5, 1.0])
@pytest.mark.parametrize("mode", ["off", "phase", "reference"])
def test_every_step_weighs_what_the_loop_weighs_there(share: float, mode: str):
    sampling = SamplingSettings(steps=8, solver="unipc", shift=5.0)
    live = LiveSettings(png=PhaseNegativeSettings(mode=mode, motion_share=share, boost=2.0))
    weights = at_steps(sampling, live)
    taus = step_taus(sampling)
    for place, name in enumerate(("text", "image", "audio")):
        assert weights[name] == pytest.approx([float(modal_weights(live.phda, tau)[place]) for tau in taus])
    boosted = {"off": 0, "phase": round(share * 8), "reference": 8}[mode]
    assert sum(weight > 1 for weight in weights["motion"]) == boosted
