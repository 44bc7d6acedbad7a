"""One call from files to a finished video, for those who write Python."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

from engine.contract.progress import ProgressCallback, ignore_progress
from engine.contract.records import GenerationRecord
from engine.contract.request import build_request, flatten
from engine.contract.settings import Settings
from engine.session import Session


@dataclass(frozen=True)
class Video:
    """A finished video: where it lies, and how it was made."""

    path: Path
    record: GenerationRecord


def generate(
    *,
    audio: str | PathLike[str],
    out: str | PathLike[str],
    settings: Settings | Mapping[str, Any] | None = None,
    on_progress: ProgressCallback = ignore_progress,
    session: Session | None = None,
    **request: Any,
) -> Video:
    """Make the video `out` (.mp4) from the voice `audio` and the other fields of a `GenerationRequest`.

    `request` holds, by name, `image`, `prompt`, `model`, `task`, `seed` and the other fields. `settings` is a whole
    `Settings`, or a mapping that is nested or has dotted names (`{"guidance.audio": 2.5}`) and is laid over the model's
    own defaults. Models are loaded once and kept for the next call in this process; a `session` of your own keeps them
    for as long as it lives.

    Raises UserError, which names the field, for every input that is wrong, and a full disk; nothing is then left at
    `out`.
    """
    changes = settings.model_dump() if isinstance(settings, Settings) else dict(settings or {})
    asked = build_request({"audio": audio, "out": out, **request}, flatten(changes))
    record = (session or _session()).generate(asked, on_progress)
    return Video(asked.out, record)


@cache
def _session() -> Session:
    return Session()
