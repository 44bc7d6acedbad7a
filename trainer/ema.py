"""The exponential moving average of the weights: what is kept, because single steps are noisy."""

from torch import Tensor, nn


class EMA:
    """A shadow of every parameter of `model`: shadow <- d * shadow + (1 - d) * weight after each step.

    d = min(decay, (1 + n) / (10 + n)) at step n, so that the random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.shadow = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def update(self, model: nn.Module) -> None:
        """Take one step of `model` in."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, weight in model.named_parameters():
            self.shadow[name].lerp_(weight.detach(), 1 - decay)
        self.steps += 1

    def copy_to(self, model: nn.Module) -> None:
        """Set the weights of `model` to the shadow."""
        for name, weight in model.named_parameters():
            weight.data.copy_(self.shadow[name])

    def state_dict(self) -> dict[str, Tensor | int]:
        """For a checkpoint."""
        return {"steps": self.steps, **self.shadow}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """From a checkpoint of the same model."""
        self.steps = int(state["steps"])
        self.shadow = {name: weight for name, weight in state.items() if isinstance(weight, Tensor)}
