"""What every training has in common: a step taken by all processes, and a run's files, from which it goes on.

The run's folder holds checkpoint.pt (all that is needed to go on, bit for bit), model/ (the averaged weights in the
layout the engine loads) and loss.jsonl. Knows nothing about what the loss is or where batches come from.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.loop.checkpoint import load_state, room_on_disk, save_folder, save_state, trim_log
from trainer.loop.ema import EMA
from trainer.loop.processes import Processes, like, whole


@dataclass(frozen=True)
class Trainee:
    """A model and how it is trained and saved.

    `model` names every weight of a checkpoint, `adapted` is what LoRA is added to; `velocity` is its forward
    (`trainer.loop.flow.predict`), of which what requires gradients is trained; `weights` [h, w], or a scalar, is what
    the error of a latent's cell counts; `write(state, folder, note)` writes the model with the weights `state` as the
    engine loads it.
    """

    model: nn.Module
    adapted: nn.Module
    velocity: nn.Module
    weights: Tensor
    write: Callable[[dict[str, Tensor], Path, dict[str, Any]], None]


class Training:
    """A trainee with its optimizer and its average, shared by the processes, and kept in `run`."""

    def __init__(self, trainee: Trainee, run: Path, processes: Processes, *, weight_decay: float, seen: int) -> None:
        """`seen`: see `trainer.loop.ema.EMA`."""
        self.processes = processes
        self.model, self._write, self.run = trainee.model, trainee.write, run
        self.velocity = self.processes.share(trainee.velocity)
        self.weights = trainee.weights.to(self.processes.device)
        self._trained = [weight for weight in trainee.velocity.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self._trained, weight_decay=weight_decay, betas=(0.9, 0.98))
        self.ema = EMA(self.model, decay=0.0, seen=seen)
        self._started_s = time.monotonic()
        self._log = (run / "loss.jsonl").open("a", buffering=1) if self.processes.is_first else None

    def step(self, loss: Tensor, learning_rate: float, gradient_clip: float) -> float:
        """Go down `loss`, unless it or its gradient is no longer finite; the gradient's norm over all processes."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._trained, gradient_clip)
        length = float(whole(norm))
        if math.isfinite(length) and math.isfinite(float(self.processes.mean(loss))):
            self.optimizer.step()
            self.ema.update(self.model)
        # Now, not before the next backward pass: the forward in between has its activations to hold.
        self.optimizer.zero_grad()
        return length

    def write_row(self, row: dict[str, Any]) -> None:
        """Log a step: a line of loss.jsonl, and the tracker's where one was asked for."""
        row = row | {"seconds": round(time.monotonic() - self._started_s, 1)}
        if self._log is not None:
            rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
            with room_on_disk(self.run / "loss.jsonl"):
                self._log.write(json.dumps(rounded) + "\n")
        self.processes.report({name: value for name, value in row.items() if isinstance(value, float)}, row["step"])

    def resume(self) -> tuple[int, dict[str, Any]] | None:
        """Back to what was last saved: the steps done and what was saved beside; None where nothing was."""
        state = load_state(self.run / "checkpoint.pt")
        if state is None:
            return None
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                tensor.copy_(like(state["model"][name], tensor))
        self.optimizer.load_state_dict(self._placed(state["optimizer"]))
        self.ema.load_state_dict(state["ema"])
        if self._log is not None:
            self._log.close()
            trim_log(self.run / "loss.jsonl", int(state["step"]))
            self._log = (self.run / "loss.jsonl").open("a", buffering=1)
        self.processes.wait()
        beside = {name: value for name, value in state.items() if name not in {"model", "optimizer", "ema", "step"}}
        return int(state["step"]), beside

    def _placed(self, optimizer: dict[str, Any]) -> dict[str, Any]:
        """The optimizer's state, each tensor as its weight is."""
        moved = {}
        for number, entry in optimizer["state"].items():
            weight = self._trained[number]
            moved[number] = {
                name: like(value, weight) if isinstance(value, Tensor) and value.shape == weight.shape else value
                for name, value in entry.items()
            }
        return optimizer | {"state": moved}

    def averaged(self) -> dict[str, Tensor]:
        """The model's weights with their averages; all processes must call it."""
        return _averaged(whole(self.model.state_dict()), whole(self.ema.state_dict()))

    def save(self, steps_done: int, note: dict[str, Any], **beside: float) -> None:
        """The averaged model first, then the state: a run that is killed between the two makes both again.

        `note` goes into the model's description, `beside` into the state.
        """
        weights = whole(self.model.state_dict())
        ema = whole(self.ema.state_dict())
        optimizer = whole(self.optimizer.state_dict())
        if self.processes.is_first:
            save_folder(self.run / "model", lambda folder: self._write(_averaged(weights, ema), folder, note))
            state = {"step": steps_done, "model": weights, "optimizer": optimizer, "ema": ema, **beside}
            save_state(self.run / "checkpoint.pt", state)
        self.processes.wait()

    def saved_step(self) -> int | None:
        """The step that was last saved, or None."""
        state = load_state(self.run / "checkpoint.pt")
        return None if state is None else int(state["step"])


def _averaged(weights: dict[str, Tensor], ema: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: ema.get(name, tensor) for name, tensor in weights.items()}
