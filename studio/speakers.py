"""Personal speakers: nano taught one person's motion from a video of them talking, each its owner's alone.

The training is a program of its own (`studio.programs`), one at a time; what it makes is a folder that is chosen like
any other model, called after the person. Knows nothing about torch.
"""

import re
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.variants import TRAINED_NAME
from studio import programs
from studio.private_files import size_of
from studio.programs import State

SPEAKER_TRAINER = (*programs.TRAINER, "personalise")
MOST_LETTERS = 40
MOST_STEPS = 3000
"""Ten times what a voice's motion needs; on two cores an afternoon."""


@dataclass(frozen=True)
class Speaker:
    """One personal speaker as it was when it was read. `losses` is one loss for each step that was made."""

    id: str
    name: str
    folder: Path
    run: Path
    """The trainer's own folder, which is called after the person."""
    state: State
    steps: int
    losses: list[float]
    said: str
    """The trainer's last line: whether it helped, or what was wrong."""

    @property
    def model(self) -> str | None:
        """The model to choose, once it is there."""
        folder = self.run / TRAINED_NAME
        return str(folder) if self.state == "done" and folder.is_dir() else None


class Speakers:
    """The speakers in `folder`. `command` is the trainer, before its arguments."""

    def __init__(self, folder: Path, command: Sequence[str] = SPEAKER_TRAINER) -> None:
        self._folder, self._command = folder, tuple(command)
        self._lock = threading.Lock()

    def learn(self, owner: str, video: Path, name: str, *, steps: int, model: str = "nano") -> Speaker:
        """Start to teach `model` the person in `video`. Raises UserError for `speaker`."""
        name = name.strip()
        if not name or len(name) > MOST_LETTERS:
            raise UserError(f"Give the speaker a name of 1 to {MOST_LETTERS} letters.", "speaker")
        if not 1 <= steps <= MOST_STEPS:
            raise UserError(f"A speaker is learned in 1 to {MOST_STEPS} steps; got {steps}.", "speaker")
        with self._lock:
            if any(programs.state_of(folder) == "running" for folder in programs.runs_in(self._folder)):
                raise UserError("A speaker is being learned already; wait until that is done, or stop it.", "speaker")
            folder = programs.new_folder(self._folder)
            kept = folder / f"video{video.suffix.lower()}"
            try:
                shutil.copyfile(video, kept)
            except OSError as error:
                shutil.rmtree(folder)
                raise UserError(
                    f"{video.name} cannot be read ({error.strerror}); choose it again.", "speaker"
                ) from error
            asked = ["--run", str(_run(folder, name)), "--steps", str(steps), "--model", model]
            described = {"owner": owner, "name": name, "steps": steps}
            programs.start(folder, [*self._command, str(kept), *asked], described)
        return _read(folder)

    def of(self, owner: str) -> list[Speaker]:
        """The owner's speakers, newest first."""
        folders = programs.runs_in(self._folder)
        return [_read(folder) for folder in folders if programs.description_of(folder)["owner"] == owner]

    def bytes_used(self, owner: str) -> int:
        """What the owner's speakers take on disk, their videos included."""
        return sum(size_of(speaker.folder) for speaker in self.of(owner))

    def stop(self, owner: str, speaker_id: str) -> None:
        """Ask the training to stop."""
        for speaker in self._mine(owner, speaker_id):
            programs.stop(speaker.folder)

    def forget(self, owner: str, speaker_id: str) -> None:
        """Delete a speaker that is not being learned, with its video."""
        for speaker in self._mine(owner, speaker_id):
            if speaker.state != "running":
                shutil.rmtree(speaker.folder, ignore_errors=True)

    def _mine(self, owner: str, speaker_id: str) -> list[Speaker]:
        return [speaker for speaker in self.of(owner) if speaker.id == speaker_id]


def _run(folder: Path, name: str) -> Path:
    """The trainer's folder for the speaker `name`: what of it any file system takes, apart from the video beside it."""
    return folder / "run" / (re.sub(r"[^\w-]+", "-", name).strip("-") or "speaker")


def _read(folder: Path) -> Speaker:
    described = programs.description_of(folder)
    run = _run(folder, described["name"])
    words = [line for line in programs.last_words(folder).splitlines() if re.match(r"error: |Loss |It did not", line)]
    return Speaker(
        id=folder.name,
        name=described["name"],
        folder=folder,
        run=run,
        state=programs.state_of(folder),
        steps=described["steps"],
        losses=[row["loss"] for row in programs.losses_of(run)],
        said=" ".join(words).removeprefix("error: "),
    )
