"""A run on disk: state, model folder and log, each written whole or not at all, so that a kill leaves what was good.

Read without unpickling anything but tensors and numbers. A full disk is the user's to mend: `UserError`.
"""

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from engine.contract.errors import UserError
from engine.contract.variants import TRAINED_NAME
from trainer.data.files import NO_ROOM

_IN_WORDS = ("No space left", "File too large", "iostream error", "PytorchStreamWriter failed", "unexpected pos")
"""How safetensors' and torch's writers say that there is no room; torch's do not even say why they stopped."""


@contextmanager
def room_on_disk(path: Path) -> Iterator[None]:
    """Say a full disk in one sentence, and which model is left."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if getattr(error, "errno", None) in NO_ROOM or any(words in str(error) for words in _IN_WORDS):
            raise UserError(
                f"The disk is full: {path} could not be written. {left_in(path.parent)}; make room and start the same "
                "command again.",
                "run",
            ) from error
        raise


def left_in(run: Path) -> str:
    """Which model a run that cannot go on leaves."""
    model = run / TRAINED_NAME
    return f"The last good model is {model}" if model.is_dir() else "No model was saved yet"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, then move it there. Raises UserError where the disk is full."""
    partial = path.with_suffix(".partial")
    try:
        with room_on_disk(path):
            torch.save(state, partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_state(path: Path) -> dict[str, Any] | None:
    """The state at `path`, or None if there is none. Raises UserError where it is damaged, and names what is left."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is damaged, so that this run cannot go on. {left_in(path.parent)}; start again in another folder "
            "with --run.",
            "run",
        ) from error
    return state


def save_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a folder beside `folder`, then put it in its place. Raises UserError where the disk is full."""
    partial, old = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".old")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with room_on_disk(folder):
            partial.mkdir(parents=True)
            write(partial)
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                folder.rename(old)
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def save_text(path: Path, text: str) -> None:
    """Write `text` whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        with room_on_disk(path):
            partial.write_text(text)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def claim(run: Path, made_of: dict[str, Any]) -> None:
    """Write down what `run` is made of; raises UserError where it was begun with something else."""
    note = run / "made_of.json"
    described = json.dumps(made_of, indent=1) + "\n"
    if note.exists():
        if note.read_text() == described:
            return
        try:
            before = json.loads(note.read_text())
        except ValueError:
            raise UserError(f"{note} is damaged: give a new folder with --run.", "run") from None
        changed = ", ".join(name for name in made_of if json.dumps(made_of[name]) != json.dumps(before.get(name)))
        raise UserError(f"The run in {run} was begun with another {changed}: give a new folder with --run.", "run")
    save_text(note, described)


def read_rows(log: Path) -> list[dict[str, Any]]:
    """The rows of a log of one JSON object a line; a last line that a kill cut short is left out."""
    rows = []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def trim_log(log: Path, steps: int) -> None:
    """Leave in `log` the rows of the first `steps` steps: later ones were written, but their weights never saved."""
    save_text(log, "".join(json.dumps(row) + "\n" for row in read_rows(log) if row["step"] < steps))
