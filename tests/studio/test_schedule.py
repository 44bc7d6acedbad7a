"""What the page's curves show is what the engine does."""

import pytest

from engine.contract.settings import PhaseBreakpoints, PhDASettings, SamplingSettings, Settings
from engine.sampling.phda import PhaseSchedule
from engine.sampling.schedulers import SOLVERS, make_scheduler
from studio.schedule import idle_notes, modal_weight, step_taus


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 8, 25])
def test_the_marked_steps_are_the_schedulers_own(solver: str, shift: float, steps: int):
    expected = make_scheduler(solver, shift, steps).timesteps.tolist()
    assert step_taus(SamplingSettings(solver=solver, shift=shift, steps=steps)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("low_high", [(0, 0), (200, 400), (600, 600), (0, 1000)])
def test_the_drawn_weight_is_the_engines(low_high: tuple[float, float]):
    pair = PhaseBreakpoints(low=low_high[0], high=low_high[1])
    schedule = PhaseSchedule.from_breakpoints(*low_high)
    for tau in range(1, 1001, 7):
        assert modal_weight(pair, tau) == pytest.approx(schedule(tau))


def settings(steps: int, shift: float, **phda: PhaseBreakpoints) -> Settings:
    return Settings(sampling=SamplingSettings(steps=steps, shift=shift, solver="unipc"), phda=PhDASettings(**phda))


def test_a_breakpoint_below_every_step_says_so_and_one_that_touches_a_step_does_not():
    image = PhaseBreakpoints(low=200, high=400)
    # At shift 5 the lowest τ is 556 with 5 steps and 172 with 25.
    assert set(idle_notes(settings(5, 5.0, image=image))) == {"image"}
    assert "556" in idle_notes(settings(5, 5.0, image=image))["image"]
    assert idle_notes(settings(25, 5.0, image=image)) == {}


def test_always_one_is_a_choice_and_not_worth_a_note():
    assert idle_notes(settings(5, 5.0, text=PhaseBreakpoints(), image=PhaseBreakpoints())) == {}
