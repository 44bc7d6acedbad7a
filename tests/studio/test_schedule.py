"""What touches no step is said beside the curves."""

from engine.contract.settings import PhaseBreakpoints, PhDASettings, SamplingSettings, Settings
from studio.schedule import idle_notes


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
