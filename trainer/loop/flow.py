"""A batch of flow matching, whatever the model: x_t = (1 - sigma) * x0 + sigma * eps, target v = eps - x0.

Knows nothing about where clips come from or what a model's conditions mean: those are named tensors that its forward
takes. tau = 1000 * sigma, high = noisy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FlowBatch:
    """B clips with their noise. `mask` [B, 1, T, h, w] is what an error counts there and then; None: 1 everywhere."""

    x0: Tensor
    """Clean latents [B, 16, T, h, w]."""
    eps: Tensor
    """Noise of the same shape."""
    sigma: Tensor
    """Noise level of each clip, [B] in (0, 1)."""
    conditions: Mapping[str, Tensor]
    """What the model's forward takes besides, [B, ...] each."""
    mask: Tensor | None = None
    weight: Tensor | None = None
    """What the loss of each clip counts, [B]; None: 1."""

    @property
    def noisy(self) -> Tensor:
        """x_t."""
        share = self.sigma[:, None, None, None, None]
        return (1 - share) * self.x0 + share * self.eps

    @property
    def target(self) -> Tensor:
        """The velocity to predict."""
        return self.eps - self.x0

    def part(self, number: int, parts: int) -> "FlowBatch":
        """Part `number` of `parts` equal ones: one process's clips."""
        size = len(self.sigma)
        mine = slice(number * size // parts, (number + 1) * size // parts)
        return self._each(lambda tensor: tensor[mine])

    def to(self, device: torch.device) -> "FlowBatch":
        """The batch on `device`."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "FlowBatch":
        return FlowBatch(
            change(self.x0),
            change(self.eps),
            change(self.sigma),
            {name: change(tensor) for name, tensor in self.conditions.items()},
            None if self.mask is None else change(self.mask),
            None if self.weight is None else change(self.weight),
        )


def predict(velocity: nn.Module, batch: FlowBatch) -> Tensor:
    """The velocity [B, 16, T, h, w] of `batch`."""
    predicted: Tensor = velocity(batch.noisy, 1000 * batch.sigma, **batch.conditions)
    return predicted


def flow_loss(predicted: Tensor, batch: FlowBatch, weights: Tensor) -> Tensor:
    """The mean squared error, each cell of the latent grid weighed by `weights` [h, w] and the batch's mask."""
    return flow_errors(predicted, batch, weights).mean()


def flow_errors(predicted: Tensor, batch: FlowBatch, weights: Tensor) -> Tensor:
    """The same clip by clip, [B]."""
    counts = weights if batch.mask is None else weights * batch.mask
    return ((predicted - batch.target).square() * counts).flatten(1).mean(dim=1) / weights.mean()
