"""The models one can choose, as data: what each needs, can do, and ignores.

Torch-free. A variant is a description; `engine.session` turns it into a loaded model.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from engine.errors import UserError
from engine.settings import GuidanceSettings, SamplingSettings, Settings

Task = Literal["talking-head"]
TASKS: tuple[Task, ...] = get_args(Task)

FPS = 25
"""Frames per second of everything that is generated."""

NANO_FOLDER = Path(__file__).parent.parent / "assets" / "nano"

NANO_DESCRIPTION = "nano.json"
"""The file that makes a folder a nano model."""


@dataclass(frozen=True)
class Variant:
    """One model: its folder, the tasks it can do, where its settings start and which of them do nothing."""

    name: str
    title: str
    folder: Path
    tasks: tuple[Task, ...]
    max_audio_s: float
    default_settings: Settings = field(default_factory=Settings)
    inert_settings: frozenset[str] = frozenset()
    """Dotted names of settings that this model does not use; refused as flags, hidden in the form."""

    @property
    def is_installed(self) -> bool:
        """Whether the model's description is where it should be."""
        return (self.folder / NANO_DESCRIPTION).is_file()


NANO = Variant(
    name="nano",
    title="Nano (bundled, runs on any CPU)",
    folder=NANO_FOLDER,
    tasks=("talking-head",),
    max_audio_s=600.0,
    default_settings=Settings(
        sampling=SamplingSettings(steps=8, solver="unipc", shift=3.0),
        guidance=GuidanceSettings(text=1.0, audio=2.0),
    ),
)

VARIANTS: dict[str, Variant] = {NANO.name: NANO}


def find_variant(model: str) -> Variant:
    """The variant named `model`, or nano in another folder where `model` is a folder in nano's layout."""
    if model in VARIANTS:
        return VARIANTS[model]
    folder = Path(model)
    if os.path.isfile(folder / NANO_DESCRIPTION):  # False, where Path.is_file raises for a name too long
        return Variant(
            name=NANO.name,
            title=f"Nano from {folder.name}",
            folder=folder,
            tasks=NANO.tasks,
            max_audio_s=NANO.max_audio_s,
            default_settings=NANO.default_settings,
            inert_settings=NANO.inert_settings,
        )
    known = ", ".join(VARIANTS)
    raise UserError(f"Unknown model {model!r}: choose {known}, or a folder that holds a {NANO_DESCRIPTION}.", "model")
