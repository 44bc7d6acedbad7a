"""Negative-DPO on labels, started from the page: the trainer runs as a program of its own and is watched by its files.

Knows nothing about torch or about what the trainer does. A run is a folder with the labels that it learns from, the
trainer's loss curve and log, and its end; so a run outlives the page, and is still known after a restart.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.errors import UserError

LABELS_NAME, DESCRIPTION_NAME, LOG_NAME, END_NAME = "labels.jsonl", "training.json", "trainer.log", "end.json"
RUN_NAME, LOSS_NAME, BLOCK_NAME, MODEL_NAME = "run", "loss.jsonl", "block.json", "model"
"""The trainer's own folder, and what it puts there."""
TRAINER = (sys.executable, "-m", "trainer", "ndpo")
ROOT = Path(__file__).parents[2]
LAST_LINES = 12


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
    state: Literal["running", "done", "failed", "stopped"]
    losses: list[dict[str, Any]]
    log: str
    stopped_by: str | None
    """The guard that ended the block, in the trainer's words."""

    @property
    def model_folder(self) -> Path | None:
        """The trained model, if there is one."""
        folder = self.folder / RUN_NAME / MODEL_NAME
        return folder if folder.is_dir() else None


class Trainings:
    """The runs in `folder`, one at a time. `command` is the trainer, before its arguments."""

    def __init__(self, folder: Path, command: Sequence[str] = TRAINER) -> None:
        self._folder = folder
        self._command = tuple(command)
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def prepare(self) -> Path:
        """A new run's folder, for its labels."""
        folder = self._folder / time.strftime("%Y%m%d-%H%M%S")
        number = 0
        while folder.exists():
            number += 1
            folder = folder.with_name(f"{time.strftime('%Y%m%d-%H%M%S')}-{number}")
        folder.mkdir(parents=True)
        return folder

    def start(
        self, folder: Path, model: Path, issue: str | None, *, labels: int, steps: int, budget: float
    ) -> Training:
        """Start the trainer on `folder`'s labels. Raises UserError while another one runs."""
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
            arguments += ["--steps", str(steps), "--budget", str(budget), *(["--issue", issue] if issue else [])]
            with (folder / LOG_NAME).open("ab") as log:
                process = subprocess.Popen(
                    [*self._command, *arguments],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            described = {"model": str(model), "issue": issue, "labels": labels, "steps": steps, "budget": budget}
            described["pid"] = process.pid
            (folder / DESCRIPTION_NAME).write_text(json.dumps(described), encoding="utf-8")
            self._running[folder.name] = process
            threading.Thread(target=self._wait, args=(folder, process), name="trainer", daemon=True).start()
        return self.read(folder)

    def stop(self, name: str) -> None:
        """Ask the trainer to stop, as Ctrl-C would."""
        process = self._running.get(name)
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)

    def all(self) -> list[Training]:
        """Every run, newest first."""
        if not self._folder.is_dir():
            return []
        folders = sorted(self._folder.iterdir(), reverse=True)
        return [self.read(folder) for folder in folders if (folder / DESCRIPTION_NAME).is_file()]

    def find(self, name: str) -> Training | None:
        """The run of that name, or None."""
        return next((run for run in self.all() if run.name == name), None)

    def read(self, folder: Path) -> Training:
        """One run from its files."""
        described = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        log = (folder / LOG_NAME).read_text(encoding="utf-8", errors="replace")
        return Training(
            name=folder.name,
            folder=folder,
            model=described["model"],
            issue=described["issue"],
            labels=described["labels"],
            steps=described["steps"],
            budget=described["budget"],
            state=_state(folder, described["pid"]),
            losses=_lines(folder / RUN_NAME / LOSS_NAME),
            log="\n".join(log.splitlines()[-LAST_LINES:]),
            stopped_by=_stopped_by(folder / RUN_NAME / BLOCK_NAME),
        )

    def _wait(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        (folder / END_NAME).write_text(json.dumps({"exit_code": code}), encoding="utf-8")


def _state(folder: Path, pid: int) -> Literal["running", "done", "failed", "stopped"]:
    end = folder / END_NAME
    if end.is_file():
        code = json.loads(end.read_text(encoding="utf-8"))["exit_code"]
        return "done" if code == 0 else "stopped" if code in (130, -signal.SIGINT) else "failed"
    return "running" if _lives(pid) else "failed"


def _stopped_by(block: Path) -> str | None:
    return json.loads(block.read_text(encoding="utf-8"))["stopped_by"] if block.is_file() else None


def _lives(pid: int) -> bool:
    """Whether the process is there; of a run whose studio was restarted, nothing else can be asked."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file that is being written."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.strip()]
