"""Phase-aware Negative Guidance (paper, section on PNG): two groups of negative prompts, each boosted in its own phase.

Motion faults are decided early, details late. Each group is encoded once; per phase its features, without their
padding, are multiplied by its boost before the text embedder and stand behind the user's own negative prompt: one
forward as before, none more. Knows nothing about encoders or models. Departure: the boost is computed from the step,
never from the last value; mode `reference` keeps the public code's compounding on purpose, to compare with.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import torch
import yaml
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.places import ASSETS
from engine.contract.settings import PhaseNegativeSettings

NEGATIVES_FILE = ASSETS / "negatives.yaml"
REFERENCE_STEPS = 3
"""How often the public code multiplies the embeddings by 1.5 before it leaves them there."""
REFERENCE_BOOST = 1.5


class Boosts(NamedTuple):
    """What the two groups are multiplied by at a step; also the name of that text."""

    motion: float
    detail: float


def motion_steps(num_steps: int, settings: PhaseNegativeSettings) -> int:
    """How many steps, from the first, the motion phase lasts: max(1, round(share · N)), none for a share of 0."""
    return max(1, round(settings.motion_share * num_steps)) if settings.motion_share else 0


def boosts(step: int, num_steps: int, tau: float, settings: PhaseNegativeSettings) -> Boosts | None:
    """PNG's weights at `step` (from 0) of `num_steps`, at timestep `tau` in (0, 1000]; None where PNG is off.

    phase: `boost` for the motion group in the first steps, for the detail group below `detail_below`, else 1.
    reference: both groups 1.5, 2.25, 3.375 in the first three steps and 3.375 from there on.
    """
    match settings.mode:
        case "off":
            return None
        case "reference":
            compounded = REFERENCE_BOOST ** min(step + 1, REFERENCE_STEPS)
            return Boosts(compounded, compounded)
        case "phase":
            return Boosts(
                settings.boost if step < motion_steps(num_steps, settings) else 1.0,
                settings.boost if tau < settings.detail_below else 1.0,
            )


@cache
def negative_words(family: Literal["released", "nano"]) -> dict[str, str]:
    """The groups' prompts, `motion` and `detail`, from the editable file. Raises UserError where it cannot be read."""
    try:
        groups = yaml.safe_load(NEGATIVES_FILE.read_text(encoding="utf-8"))[family]
        return {name: ", ".join(groups[name]) for name in ("motion", "detail")}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"{NEGATIVES_FILE.name} cannot be read ({type(error).__name__}: {error}): it needs the groups motion and "
            f"detail under {family}.",
            "png.mode",
        ) from error


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
