import pytest
import torch

from engine.contract.errors import UserError
from engine.sampling.schedulers import SOLVERS, make_scheduler

every_solver = pytest.mark.parametrize("solver", SOLVERS)


@every_solver
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 25, 100])
def test_time_runs_down_from_noise_to_nothing(solver, shift, steps):
    scheduler = make_scheduler(solver, shift, steps)
    sigmas = scheduler.sigmas
    assert len(scheduler.timesteps) == steps
    assert 0.998 < sigmas[0] <= 1
    assert sigmas[-1] == 0
    assert bool((sigmas.diff() < 0).all())
    torch.testing.assert_close(scheduler.timesteps.float(), 1000 * sigmas[:-1], atol=1.0, rtol=0)


@every_solver
@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_a_straight_flow_is_followed_to_its_end(solver, shift, steps):
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 1, 16, 3, 4, 4)
    scheduler = make_scheduler(solver, shift, steps)
    x = noise
    for tau in scheduler.timesteps:
        x = scheduler.step(noise - clean, tau, x, return_dict=False)[0]
    # DPM++ starts at sigma 0.999, so a thousandth of the velocity is left over.
    torch.testing.assert_close(x, clean, atol=6e-3, rtol=0)


@every_solver
def test_a_larger_shift_keeps_the_noise_for_longer(solver):
    assert make_scheduler(solver, 5.0, 8).sigmas[4] > make_scheduler(solver, 1.0, 8).sigmas[4] + 0.2


@pytest.mark.parametrize(
    ("solver", "shift", "steps", "field"),
    [
        ("heun", 1.0, 8, "sampling.solver"),
        ("euler", 0.0, 8, "sampling.shift"),
        ("euler", float("nan"), 8, "sampling.shift"),
        ("unipc", 1.0, 0, "sampling.steps"),
    ],
)
def test_what_cannot_be_integrated_is_refused_beside_its_field(solver, shift, steps, field):
    with pytest.raises(UserError) as refused:
        make_scheduler(solver, shift, steps)
    assert refused.value.field == field
