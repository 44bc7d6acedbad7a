"""Training state on disk: written whole or not at all, read without unpickling anything but tensors and numbers."""

from pathlib import Path
from typing import Any

import torch


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, then move it there, so that a kill leaves the last good one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_state(path: Path) -> dict[str, Any] | None:
    """The state at `path`, or None if there is none."""
    return torch.load(path, weights_only=True) if path.exists() else None
