"""The bundled example portraits and voices, found by listing their folder.

Knows nothing about how they are shown. A name that starts with a number is ordered by it; the rest of it is the label.
"""

from dataclasses import dataclass
from pathlib import Path

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SOUND_SUFFIXES = {".wav", ".mp3", ".m4a", ".flac", ".ogg"}


@dataclass(frozen=True)
class Examples:
    """Paths of example files; empty where the folder holds none."""

    portraits: tuple[Path, ...]
    voices: tuple[Path, ...]


def find_examples(folder: Path) -> Examples:
    """The pictures and sounds directly in `folder`, by name."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return Examples(
        portraits=tuple(path for path in files if path.suffix.lower() in PICTURE_SUFFIXES),
        voices=tuple(path for path in files if path.suffix.lower() in SOUND_SUFFIXES),
    )


def label_of(path: Path) -> str:
    """A file's name as people read it: `02_navy-portrait.jpg` is "Navy portrait"."""
    words = path.stem.replace("_", " ").replace("-", " ").lstrip("0123456789 ") or path.stem
    return words[:1].upper() + words[1:]
