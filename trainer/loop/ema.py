"""The exponential moving average of the weights: what is kept, because single steps are noisy."""

from collections.abc import Iterator

from torch import Tensor, nn

from trainer.loop.processes import like


class EMA:
    """A shadow of every trained parameter of `model`: shadow <- d * shadow + (1 - d) * weight after each step.

    d = min(decay, (1 + n) / (10 + n)) at step n, so that a random start is soon forgotten; weights that are trained
    already begin at n = `seen`. The decay may be set anew from stage to stage, the shadow is carried on.
    """

    def __init__(self, model: nn.Module, decay: float, seen: int = 0) -> None:
        self.decay = decay
        self.steps = seen
        self.shadow = {name: weight.detach().clone() for name, weight in _trained(model)}

    def update(self, model: nn.Module) -> None:
        """Take one step of `model` in."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, weight in _trained(model):
            self.shadow[name].lerp_(weight.detach(), 1 - decay)
        self.steps += 1

    def copy_to(self, model: nn.Module) -> None:
        """Set the weights of `model` to the shadow."""
        for name, weight in model.named_parameters():
            if name in self.shadow:
                weight.data.copy_(self.shadow[name])

    def state_dict(self) -> dict[str, Tensor | int]:
        """For a checkpoint."""
        return {"steps": self.steps, **self.shadow}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """From a checkpoint of the same model."""
        self.steps = int(state["steps"])
        for name, weight in self.shadow.items():
            saved = state[name]
            assert isinstance(saved, Tensor)
            weight.copy_(like(saved, weight))


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def stage_decay(old_share: float, steps: int) -> float:
    """d = rho^(1/N): over a stage of N `steps` the shadow keeps `old_share` rho, in (0, 1), of what it was before."""
    if not 0 < old_share < 1 or steps < 1:
        raise ValueError(f"the old share must be in (0, 1) and a stage have steps; got {old_share}, {steps}")
    return float(old_share ** (1 / steps))
