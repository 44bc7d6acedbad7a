"""PhDA is the paper's Eq. 2, and any other piecewise-linear curve."""

import pytest
import torch

from engine.contract.settings import PhaseBreakpoints, PhDASettings
from engine.sampling.phda import PhaseSchedule, modal_weights, weight

TAUS = [0.5, 100.0, 199.999, 200.0, 300.0, 399.999, 400.0, 700.0, 1000.0]


@pytest.mark.parametrize(
    ("low", "high", "tau", "expected"),
    [
        (200, 400, 199.0, 0.5),
        (200, 400, 200.0, 0.5),
        (200, 400, 300.0, 0.75),
        (200, 400, 400.0, 1.0),
        (200, 400, 1000.0, 1.0),
        (300, 300, 299.9, 0.5),
        (300, 300, 300.0, 1.0),
        (0, 0, 0.001, 1.0),
        (0, 0, 1000.0, 1.0),
        (1000, 1000, 999.0, 0.5),
    ],
)
def test_equation_2_by_hand(low: float, high: float, tau: float, expected: float):
    assert PhaseSchedule.from_breakpoints(low, high)(tau) == pytest.approx(expected)


@pytest.mark.parametrize(("low", "high"), [(200.0, 400.0), (0.0, 1000.0), (399.0, 400.0)])
def test_between_the_breakpoints_it_is_the_papers_line(low: float, high: float):
    m = 0.5 / (high - low)
    b = 1 - m * high
    schedule = PhaseSchedule.from_breakpoints(low, high)
    for tau in torch.linspace(low, high, 20).tolist():
        assert schedule(tau) == pytest.approx(m * tau + b)


def test_the_vectorised_weight_equals_the_schedule_for_breakpoints_of_every_sample():
    pairs = [(0.0, 0.0), (200.0, 400.0), (300.0, 300.0), (0.0, 1000.0), (1000.0, 1000.0)]
    low, high = (torch.tensor(side)[:, None] for side in zip(*pairs, strict=True))
    got = weight(torch.tensor(TAUS)[None], low, high)
    expected = [[PhaseSchedule.from_breakpoints(*pair)(tau) for tau in TAUS] for pair in pairs]
    torch.testing.assert_close(got, torch.tensor(expected))


def test_a_schedule_may_switch_a_modality_off_and_step_between():
    schedule = PhaseSchedule(((100.0, 0.0), (500.0, 0.0), (500.0, 1.0), (900.0, 0.2)))
    assert [schedule(tau) for tau in (50, 499.9, 500, 700, 900, 1000)] == pytest.approx([0, 0, 1, 0.6, 0.2, 0.2])


@pytest.mark.parametrize("knots", [(), ((2.0, 1.0), (1.0, 1.0))])
def test_a_schedule_without_ordered_knots_is_refused(knots: tuple):
    with pytest.raises(ValueError, match="order of tau"):
        PhaseSchedule(knots)


def test_modal_weights_are_text_image_audio():
    settings = PhDASettings(
        text=PhaseBreakpoints(low=0, high=0),
        image=PhaseBreakpoints(low=200, high=400),
        audio=PhaseBreakpoints(low=600, high=800),
    )
    assert modal_weights(settings, 500.0).tolist() == [1.0, 1.0, 0.5]
    assert modal_weights(settings, 300.0).tolist() == [1.0, 0.75, 0.5]
    assert modal_weights(settings.model_copy(update={"enabled": False}), 1.0).tolist() == [1.0, 1.0, 1.0]
