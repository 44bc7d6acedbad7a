"""Phase-aware Negative Guidance (paper, section on PNG): two groups of negative prompts, each boosted in its own phase.

Motion faults are decided early, details late. Each group is encoded once; per phase its features, without their
padding, are multiplied by its boost before the text embedder and stand behind the user's own negative prompt: one
forward as before, none more. Knows nothing about encoders or models. Departure: the boost is computed from the step,
never from the last value; mode `reference` keeps the public code's compounding on purpose, to compare with.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.phases import Boosts


@dataclass(frozen=True)
class NegativeText:
    """What the unconditional branch may read: features without padding, [tokens, C] each, of a text of `length`.

    Raises UserError where the three together are longer than the model reads.
    """

    own: Tensor
    """The user's own negative prompt, never boosted."""
    motion: Tensor
    detail: Tensor
    length: int

    def __post_init__(self) -> None:
        counts = [len(part) for part in (self.own, self.motion, self.detail)]
        if sum(counts) > self.length:
            raise UserError(
                f"The negative prompt has {counts[0]} tokens and the groups of negative guidance {counts[1]} and "
                f"{counts[2]}, more than the {self.length} that the model reads; shorten it, or set png.mode to off.",
                "negative_prompt",
            )

    def at(self, boosts: Boosts | None) -> Tensor:
        """The features [1, length, C] with the groups at their boosts, zeros behind; without the groups for None."""
        parts = [self.own]
        if boosts is not None:
            parts += [boosts.motion * self.motion, boosts.detail * self.detail]
        text = torch.cat(parts)
        return torch.cat([text, text.new_zeros(self.length - len(text), text.shape[1])]).unsqueeze(0)
