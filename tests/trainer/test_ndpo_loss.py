"""The laws of Negative-DPO's loss, and a plane with eight modes of which two are unwanted."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from trainer.objectives.ndpo_loss import LOSSES, Errors, beta_of_budget, masked_error, npo

BETAS = (0.5, 2.0, 19.7, 118.0)


def errors_at(negative: Tensor, reference: Tensor) -> Errors:
    still = torch.full_like(reference, 0.4)
    return Errors(negative, reference, still, still, reference.mean().detach())


def slope(negative: float, reference: float, beta: float) -> float:
    theta = torch.tensor([negative], requires_grad=True)
    npo(errors_at(theta, torch.tensor([reference])), beta).sum().backward()
    return float(theta.grad)


@pytest.mark.parametrize("beta", BETAS)
def test_at_the_reference_the_slope_is_minus_a_half_for_any_beta(beta: float):
    assert slope(0.37, 0.37, beta) == pytest.approx(-0.5)


@pytest.mark.parametrize("beta", BETAS)
def test_the_push_is_away_from_the_negative_and_bounded(beta: float):
    slopes = [slope(error, 0.4, beta) for error in (0.0, 0.2, 0.4, 0.6, 0.9)]
    assert all(-1 <= value < 0 for value in slopes)
    assert slopes == sorted(slopes)


def test_a_negative_that_is_forgotten_moves_nothing():
    assert slope(1e6, 0.4, 20.0) == 0.0
    assert slope(0.4 * 1.3, 0.4, beta_of_budget(0.3)) == pytest.approx(-0.05, abs=0.002)


@pytest.mark.parametrize("negative", [0.0, 1e-30, 1e6, 3e37])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_slopes_are_finite_at_the_extremes(name: str, negative: float):
    theta = torch.tensor([negative, 0.3], requires_grad=True)
    LOSSES[name](errors_at(theta, torch.tensor([0.4, 0.4])), beta_of_budget(0.05)).sum().backward()
    assert bool(torch.isfinite(theta.grad).all())


def test_with_beta_two_and_scale_one_it_is_equation_three():
    policy, reference = torch.tensor([0.3, 1.1, 2.0]), torch.tensor([0.5, 1.0, 1.5])
    ratio = torch.exp(-(policy - reference))
    assert torch.allclose(npo(errors_at(policy, reference), 2.0), torch.log1p(ratio))


def test_the_sign_as_printed_would_learn_the_negative():
    theta = torch.tensor([0.5], requires_grad=True)
    (-npo(errors_at(theta, torch.tensor([0.5])), 2.0)).sum().backward()
    assert float(theta.grad) > 0, "descending the printed sign lowers the negative's error"


def test_nothing_flows_into_the_reference():
    network = nn.Linear(3, 1)
    frozen = copy.deepcopy(network).requires_grad_(False)
    x = torch.randn(5, 3)
    with torch.no_grad():
        reference = frozen(x).square().flatten()
    npo(errors_at(network(x).square().flatten(), reference), 2.0).mean().backward()
    assert all(weight.grad is None for weight in frozen.parameters())
    assert all(bool(weight.grad.any()) for weight in network.parameters())


def test_scaling_every_error_scales_the_loss_and_leaves_its_slope():
    policy, reference = torch.tensor([0.3, 0.6]), torch.tensor([0.5, 0.5])
    once, thrice = npo(errors_at(policy, reference), 8.0), npo(errors_at(3 * policy, 3 * reference), 8.0)
    assert torch.allclose(3 * once, thrice)


def test_a_masked_error_counts_the_masked_positions_only():
    target = torch.zeros(2, 16, 5, 4, 4)
    velocity = torch.ones_like(target)
    mask = torch.zeros(2, 1, 5, 4, 4)
    mask[0, :, 2], mask[1, :, :, :2] = 1, 1
    velocity[0, :, 3:], velocity[1, :, :, 2:] = 100, 100
    assert masked_error(velocity, target, mask).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="empty"):
        masked_error(velocity, target, torch.zeros_like(mask))


@pytest.mark.parametrize("budget", [0.0, 0.04, 1.01, math.nan])
def test_a_budget_out_of_range_is_refused(budget: float):
    with pytest.raises(ValueError, match=r"\[0.05, 1\]"):
        beta_of_budget(budget)


MODES = 4.0 * torch.stack([torch.arange(8).mul(math.pi / 4).cos(), torch.arange(8).mul(math.pi / 4).sin()], dim=1)
UNWANTED = torch.tensor([0, 3])


class Plane(nn.Module):
    """A velocity field on the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(10, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU()
        )
        self.out = nn.Linear(128, 2)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        waves = sigma * torch.tensor([1.0, 2.0, 4.0, 8.0]) * math.pi
        return self.out(self.layers(torch.cat([x, waves.sin(), waves.cos()], dim=1)))


def drawn(count: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    points = MODES[torch.randint(8, (count,), generator=random)] + 0.25 * torch.randn(count, 2, generator=random)
    return points, torch.rand(count, 1, generator=random), torch.randn(count, 2, generator=random)


def error(model: nn.Module, x0: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    return (model((1 - sigma) * x0 + sigma * eps, sigma) - (eps - x0)).square().mean(dim=1)


@torch.no_grad()
def sampled(model: nn.Module, count: int, random: torch.Generator, steps: int = 30) -> Tensor:
    x = torch.randn(count, 2, generator=random)
    for step in range(steps):
        x = x - model(x, torch.full((count, 1), 1 - step / steps)) / steps
    return x


def unwanted_and_off(points: Tensor) -> tuple[Tensor, float]:
    distance, mode = torch.cdist(points, MODES).min(dim=1)
    return (distance < 1) & torch.isin(mode, UNWANTED), float((distance >= 1).float().mean())


def test_four_cycles_cut_the_unwanted_modes_to_a_third_and_stay_on_the_others():
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    model = Plane()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(2500):
        optimizer.zero_grad()
        error(model, *drawn(256, random)).mean().backward()
        optimizer.step()
    before, _ = unwanted_and_off(sampled(model, 4000, random))
    for _cycle in range(4):
        reference = copy.deepcopy(model).requires_grad_(False)
        points = sampled(reference, 4000, random)
        negatives = points[unwanted_and_off(points)[0]]
        optimizer = torch.optim.Adam(model.parameters(), 3e-4)
        for _ in range(300):
            # The real batch still holds the unwanted modes: only the negatives say that they are unwanted.
            real = drawn(128, random)
            x0 = negatives[torch.randint(len(negatives), (128,), generator=random)]
            sigma, eps = torch.rand(128, 1, generator=random), torch.randn(128, 2, generator=random)
            frozen = error(reference, x0, sigma, eps)
            positive = error(model, *real)
            policy = error(model, x0, sigma, eps)
            loss = npo(Errors(policy, frozen, positive, positive, frozen.mean()), beta_of_budget(0.5))
            optimizer.zero_grad()
            (positive.mean() + loss.mean()).backward()
            optimizer.step()
    after, off = unwanted_and_off(sampled(model, 4000, random))
    assert float(before.float().mean()) > 3 * float(after.float().mean())
    assert off < 0.05
