"""Phase-aware Dynamical Allocation: how much each modality's attention weighs at a timestep (paper, Eq. 2).

Pure functions of (settings, tau); knows nothing about models or schedulers. tau in (0, 1000], high = noisy = early.
Departure: a phase schedule is any piecewise-linear curve, because the paper's ablations need weights that Eq. 2 cannot
express; Eq. 2 is one way to make one. The paper gives no numbers for the breakpoints; ours are in
`engine.contract.settings`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.contract.phases import FLOOR, modality_weights
from engine.contract.settings import PhDASettings


@dataclass(frozen=True)
class PhaseSchedule:
    """A piecewise-linear weight over tau, constant beyond its first and last knot.

    `knots` are (tau, weight) in the order of tau; two knots at one tau make a step, whose upper side includes the tau.
    """

    knots: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        taus = [tau for tau, _ in self.knots]
        if not taus or taus != sorted(taus):
            raise ValueError(f"knots must be given, in the order of tau; got {self.knots}")

    @classmethod
    def from_breakpoints(cls, low: float, high: float) -> "PhaseSchedule":
        """Eq. 2: 0.5 below `low`, 1 from `high` on, linear between; (0, 0) is always 1."""
        return cls(((low, FLOOR), (high, 1.0)))

    def __call__(self, tau: float) -> float:
        """The weight at `tau`."""
        left, right = self.knots[0], self.knots[-1]
        if tau < left[0]:
            return left[1]
        if tau >= right[0]:
            return right[1]
        for knot in self.knots:
            if knot[0] > tau:
                right = knot
                break
            left = knot
        return left[1] + (right[1] - left[1]) * (tau - left[0]) / (right[0] - left[0])


def weight(tau: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Eq. 2 for tensors of timesteps and breakpoints that broadcast: what training uses, with breakpoints per sample.

    Equal to `PhaseSchedule.from_breakpoints(low, high)(tau)` element by element; `low` must not exceed `high`.
    """
    width = high - low
    ramp = torch.where(width > 0, (tau - low) / width.clamp(min=torch.finfo(torch.float32).tiny), (tau >= low).float())
    return FLOOR + (1.0 - FLOOR) * ramp.clamp(0.0, 1.0)


def modal_weights(settings: PhDASettings, tau: float) -> Tensor:
    """The weights of text, image and audio at `tau`, float32 [3]; ones where PhDA is off."""
    return torch.tensor(modality_weights(settings, tau))
