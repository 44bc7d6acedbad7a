"""diffusers' schedulers with flow options against the released code's samplers, on a field with a known formula."""

import re

import pytest
import torch
from safetensors.torch import load_file

from engine.sampling.schedulers import SOLVERS, make_scheduler


@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_ends_where_the_release_ends(samplers, solver, agrees):
    steps, shift = (float(n) for n in re.search(r"_(\d+)steps_shift([\d.]+)$", samplers.stem).groups())
    case = load_file(samplers)
    scheduler = make_scheduler(solver, shift, int(steps))
    x = case["x0"]
    for tau in scheduler.timesteps:
        velocity = torch.tanh(1.7 * x) * (0.3 + tau / 1000) - 0.4 * x
        x = scheduler.step(velocity, tau, x, return_dict=False)[0]
    agrees(x, case[f"{solver}_final"], 2e-3, relative=True)
