"""What Negative-DPO minimises: per-sample errors of a model and its frozen reference in, one loss per sample out.

The paper (Eq. 3) maximises log[π⁺/(π⁺+π⁻)] with π⁺ → 1, so the loss to minimise is +log(1 + π⁻); as printed, minimising
would raise π⁻. With log(π_θ/π_ref) ≈ −(e_θ − e_ref), e the masked mean squared velocity error at the same noise and
timestep, that is Negative Preference Optimization (arXiv 2404.05868) for flow matching:

    D = e_θ − e_ref        s = mean of e_ref        ℓ = (2/β) · s · softplus(−(β/2) · D/s)

so that ∂ℓ/∂e_θ = −sigmoid(−(β/2) · D/s) lies in (−1, 0) and is −½ where the model is still its reference. s makes β
independent of how large errors are; β = 2 with s = 1 is Eq. 3 itself.

Knows nothing about models, clips or labels. Departure: Diffusion-DPO is there to compare with.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

BUDGET_TO_BETA = 5.9
"""β of a forget budget of 1: at D/s = budget, sigmoid(−(β/2)·D/s) = 0.05, so that a block ends itself there."""


@dataclass(frozen=True)
class Errors:
    """What a loss may look at. Every tensor is [B]; those of the reference carry no gradient."""

    negative: Tensor
    """e_θ of the negatives."""
    negative_reference: Tensor
    """e_ref of the negatives."""
    positive: Tensor
    """e_θ of the real batch."""
    positive_reference: Tensor
    """e_ref of the real batch."""
    scale: Tensor
    """s, the mean of e_ref over the global batch, a scalar."""


def masked_error(velocity: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error [B] of `velocity` [B, C, T, h, w] over the positions where `mask` [B, 1, T, h, w] is 1.

    Normalised by the masked count, so that a short span weighs like a long one. Raises ValueError for an empty mask.
    """
    counted = mask.flatten(1).sum(dim=1) * velocity.shape[1]
    if bool((counted == 0).any()):
        raise ValueError("the mask of a sample is empty: its span or region covers no latent")
    return ((velocity - target).square() * mask).flatten(1).sum(dim=1) / counted


def beta_of_budget(forget_budget: float) -> float:
    """β ≈ 5.9 / budget for a forget budget in [0.05, 1], the D/s at which the push has all but died away."""
    if not 0.05 <= forget_budget <= 1.0:
        raise ValueError(f"the forget budget must be in [0.05, 1]; got {forget_budget}, try 0.3")
    return BUDGET_TO_BETA / forget_budget


def npo(errors: Errors, beta: float) -> Tensor:
    """(2/β)·s·softplus(−(β/2)·D/s): a push that is bounded, and dies away once a negative is forgotten."""
    distance = (errors.negative - errors.negative_reference) / errors.scale
    return 2 / beta * errors.scale * F.softplus(-beta / 2 * distance)


def dpo(errors: Errors, beta: float) -> Tensor:
    """Diffusion-DPO (arXiv 2311.12908), a real sample of the batch preferred to each negative."""
    won = errors.positive - errors.positive_reference
    lost = errors.negative - errors.negative_reference
    return 2 / beta * errors.scale * F.softplus(beta / 2 * (won - lost) / errors.scale)


LOSSES: dict[str, Callable[[Errors, float], Tensor]] = {"npo": npo, "dpo": dpo}
"""By the name in a recipe; npo is the paper's."""

USES_POSITIVE_REFERENCE = frozenset({"dpo"})
"""The losses that look at the reference's errors on the real batch."""
