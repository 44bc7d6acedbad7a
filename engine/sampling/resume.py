"""What a long clip keeps from step to step, so that a killed job goes on from its last finished step.

One safetensors file, written beside itself and moved into place, so that a kill leaves the last whole one. It holds the
latents, the solver's memory of earlier steps, and what the state belongs to: another request finds nothing in it.
Knows nothing about models.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.contract.settings import LiveSettings

STATE_FILE = "clip.safetensors"
_NUMBERS = ("lower_order_nums", "_step_index", "this_order")
_LISTS = ("model_outputs", "timestep_list")
_TENSORS = ("last_sample",)


class ClipKeeper:
    """A `StepKeeper` in the folder `folder` for the clip that `clip_id` names; `used` are the settings of each step."""

    def __init__(self, folder: Path, clip_id: str) -> None:
        self._file = folder / STATE_FILE
        self._clip_id = clip_id
        self.used: list[LiveSettings] = []
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, scheduler: Any) -> tuple[int, Tensor] | None:
        """The steps done and the latents behind them, with `scheduler` put back; None where nothing fits."""
        try:
            with safe_open(self._file, "pt") as file:
                notes = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        if notes["clip"] != self._clip_id:
            return None
        for name, value in notes["numbers"].items():
            setattr(scheduler, name, value)
        for name, places in notes["lists"].items():
            setattr(scheduler, name, [_item(tensors, f"{name}.{place}", kind) for place, kind in enumerate(places)])
        for name in _TENSORS:
            if name in tensors:
                setattr(scheduler, name, tensors[name])
        self.used = [LiveSettings.model_validate(step) for step in notes["used"]]
        return notes["steps_done"], tensors["x"]

    def save(self, steps_done: int, x: Tensor, scheduler: Any) -> None:
        """Keep the state behind `steps_done` steps."""
        tensors = {"x": x}
        lists: dict[str, list[str]] = {}
        for name in _LISTS:
            values = getattr(scheduler, name, None) or []
            lists[name] = ["none" if value is None else "tensor" for value in values]
            tensors |= {
                f"{name}.{place}": torch.as_tensor(value) for place, value in enumerate(values) if value is not None
            }
        for name in _TENSORS:
            if isinstance(value := getattr(scheduler, name, None), Tensor):
                tensors[name] = value
        notes = {
            "clip": self._clip_id,
            "steps_done": steps_done,
            "numbers": {name: value for name in _NUMBERS if isinstance(value := getattr(scheduler, name, None), int)},
            "lists": {name: kinds for name, kinds in lists.items() if kinds},
            "used": [step.model_dump() for step in self.used[:steps_done]],
        }
        partial = self._file.with_suffix(".partial")
        copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        save_file(copies, partial, metadata={"state": json.dumps(notes)})
        os.replace(partial, self._file)

    def clear(self) -> None:
        """The clip is done: nothing of it stays, nor the folder if it held nothing else."""
        self._file.unlink(missing_ok=True)
        with suppress(OSError):
            self._file.parent.rmdir()


def _item(tensors: dict[str, Tensor], name: str, kind: str) -> Tensor | None:
    return tensors[name] if kind == "tensor" else None
