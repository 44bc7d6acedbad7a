"""Negative-DPO on labels, started from the page: the trainer runs as a program of its own and is watched by its files.

Knows nothing about torch or about what the trainer does. A run is a folder with the labels that it learns from, the
trainer's loss curve and log, and its end; so a run outlives the page, and is still known after a restart.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import UserError
from engine.contract.unlearning import DEFAULT_PRESET
from engine.contract.variants import TRAINED_NAME
from studio import programs
from studio.programs import RUN_NAME, State

LABELS_NAME, BLOCK_NAME = "labels.jsonl", "block.json"
USED_NAME = "used"
"""Marks a run whose model is offered to everybody."""
TRAINER = (*programs.TRAINER, "ndpo")


@dataclass(frozen=True)
class Training:
    """One run as it was when it was read. `losses` are the trainer's own lines; `log` its last words."""

    name: str
    folder: Path
    model: str
    issue: str | None
    labels: int
    steps: int
    budget: float
    state: State
    losses: list[dict[str, Any]]
    log: str
    stopped_by: str | None
    """The guard that ended the block, in the trainer's words."""

    @property
    def model_folder(self) -> Path | None:
        """The trained model, if there is one."""
        folder = self.folder / RUN_NAME / TRAINED_NAME
        return folder if folder.is_dir() else None


class Trainings:
    """The runs in `folder`, one at a time. `command` is the trainer, before its arguments."""

    def __init__(self, folder: Path, command: Sequence[str] = TRAINER) -> None:
        self.folder = folder
        self._command = tuple(command)
        self._lock = threading.Lock()

    def prepare(self) -> Path:
        """A new run's folder, for its labels."""
        return programs.new_folder(self.folder)

    def start(
        self,
        folder: Path,
        model: Path,
        issue: str | None,
        *,
        labels: int,
        steps: int,
        budget: float,
        preset: str = DEFAULT_PRESET,
        speech: Path | None = None,
    ) -> Training:
        """Start the trainer on `folder`'s labels, by `preset` but for `steps` and `budget`, beside the `speech`.

        Raises UserError while another one runs.
        """
        with self._lock:
            running = next((run for run in self.all() if run.state == "running"), None)
            if running is not None:
                raise UserError(f"The training {running.name} is still running; wait, or stop it.", "train")
            arguments: list[str | Path] = [
                "--model",
                model,
                "--labels",
                folder / LABELS_NAME,
                "--run",
                folder / RUN_NAME,
            ]
            arguments += ["--preset", preset, "--steps", str(steps), "--budget", str(budget)]
            if speech:
                arguments += ["--corpus", speech]
            if issue:
                arguments += ["--issue", issue]
            described = {"model": str(model), "issue": issue, "labels": labels, "steps": steps, "budget": budget}
            described |= {"preset": preset}
            programs.start(folder, [*self._command, *arguments], described)
        return self.read(folder)

    def stop(self, name: str) -> None:
        """Ask the trainer to stop, as Ctrl-C would."""
        run = self.find(name)
        if run is not None:
            programs.stop(run.folder)

    def use(self, name: str) -> Path:
        """Offer the run's model to everybody from now on; returns its folder. Raises UserError where it has none."""
        run = self.find(name)
        if run is None or run.model_folder is None:
            raise UserError("There is no trained model yet.", "train")
        (run.folder / USED_NAME).touch()
        return run.model_folder

    def used(self) -> dict[str, Path]:
        """The offered models' folders by the names of their runs, newest first."""
        offered = (folder for folder in programs.runs_in(self.folder) if (folder / USED_NAME).is_file())
        models = {folder.name: folder / RUN_NAME / TRAINED_NAME for folder in offered}
        return {name: folder for name, folder in models.items() if folder.is_dir()}

    def all(self) -> list[Training]:
        """Every run, newest first."""
        return [self.read(folder) for folder in programs.runs_in(self.folder)]

    def find(self, name: str) -> Training | None:
        """The run of that name, or None."""
        return next((run for run in self.all() if run.name == name), None)

    def read(self, folder: Path) -> Training:
        """One run from its files."""
        described = programs.description_of(folder)
        return Training(
            name=folder.name,
            folder=folder,
            model=described["model"],
            issue=described["issue"],
            labels=described["labels"],
            steps=described["steps"],
            budget=described["budget"],
            state=programs.state_of(folder),
            losses=programs.losses_of(folder / RUN_NAME),
            log=programs.last_words(folder),
            stopped_by=_stopped_by(folder / RUN_NAME / BLOCK_NAME),
        )


def _stopped_by(block: Path) -> str | None:
    return json.loads(block.read_text(encoding="utf-8"))["stopped_by"] if block.is_file() else None
