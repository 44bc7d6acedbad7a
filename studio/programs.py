"""Trainings as programs of their own, watched by their files: they outlive the page, and are known after a restart.

A run is a folder with what was asked for, the trainer's log, its losses and its end (`studio.program_end`). Knows
nothing about torch, nor about what is trained.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import psutil

from studio import program_end
from studio.private_files import write_private

DESCRIPTION_NAME, LOG_NAME, END_NAME = "training.json", "trainer.log", "end.json"
RUN_NAME, LOSS_NAME = "run", "loss.jsonl"
"""The trainer's own folder, and its loss curve there."""
TRAINER = (sys.executable, "-m", "trainer")
ROOT = Path(__file__).parents[1]
LAST_LINES = 12
CLOCK_SLACK_S = 5.0
"""When a process began is reckoned from the clock, which may be set right meanwhile."""
State = Literal["running", "done", "failed", "stopped"]


def start(folder: Path, command: Sequence[str | Path], described: dict[str, Any]) -> None:
    """Run `command` with its output in `folder`'s log; `described` is kept beside it, with the process."""
    watched = [sys.executable, "-m", program_end.__name__, folder / END_NAME, *command]
    with (folder / LOG_NAME).open("ab") as log:
        process = subprocess.Popen(
            watched, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    known = {"pid": process.pid, "began_s": psutil.Process(process.pid).create_time()}
    write_private(folder / DESCRIPTION_NAME, json.dumps(described | known))
    threading.Thread(target=process.wait, name="trainer", daemon=True).start()


def stop(folder: Path) -> None:
    """Ask the program to stop, as Ctrl-C would, whichever studio started it."""
    if state_of(folder) == "running":
        with contextlib.suppress(ProcessLookupError):  # it may end at this moment
            os.killpg(description_of(folder)["pid"], signal.SIGINT)


def new_folder(parent: Path) -> Path:
    """A new run's folder, named by the time."""
    folder = parent / time.strftime("%Y%m%d-%H%M%S")
    number = 0
    while folder.exists():
        number += 1
        folder = folder.with_name(f"{time.strftime('%Y%m%d-%H%M%S')}-{number}")
    folder.mkdir(parents=True)
    return folder


def runs_in(parent: Path) -> list[Path]:
    """The folders of what was started, newest first."""
    folders = sorted(parent.iterdir(), reverse=True) if parent.is_dir() else []
    return [folder for folder in folders if (folder / DESCRIPTION_NAME).is_file()]


def description_of(folder: Path) -> dict[str, Any]:
    """What was asked for."""
    return json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))


def state_of(folder: Path) -> State:
    """How the run stands."""
    lives = _lives(description_of(folder))  # asked first: the end is written while it lives
    end = folder / END_NAME
    if end.is_file():
        code = json.loads(end.read_text(encoding="utf-8"))["exit_code"]
        return "done" if code == 0 else "stopped" if code in (130, -signal.SIGINT) else "failed"
    return "running" if lives else "failed"


def last_words(folder: Path) -> str:
    """The end of the trainer's log."""
    log = (folder / LOG_NAME).read_text(encoding="utf-8", errors="replace")
    return "\n".join(log.splitlines()[-LAST_LINES:])


def losses_of(run: Path) -> list[dict[str, Any]]:
    """The complete lines of the loss curve in the trainer's folder, which may be being written."""
    path = run / LOSS_NAME
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.strip()]


def _lives(described: dict[str, Any]) -> bool:
    """Whether the process is there. Numbers come again, after a restart of the machine above all; moments do not."""
    try:
        process = psutil.Process(described["pid"])
        same = abs(process.create_time() - described.get("began_s", 0.0)) < CLOCK_SLACK_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
