"""What the page needs from the engine, as plain callables, so that the page starts before anything heavy is imported.

Knows nothing about how they work. `app.py` connects them; the tests connect small real ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.progress import ProgressCallback
from engine.records import GenerationRecord
from engine.request import GenerationRequest

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as fractions of the upright picture."""


@dataclass(frozen=True)
class PortraitView:
    """A picture as the page shows it: upright and small, with every face that was found, the taken one first."""

    thumbnail: bytes
    thumbnail_mime: str
    width_px: int
    height_px: int
    faces: tuple[Box, ...]
    notice: str | None = None


@dataclass(frozen=True)
class VoiceView:
    """A sound as the page describes it."""

    duration_s: float
    notice: str | None = None


@dataclass(frozen=True)
class Readiness:
    """Whether the model is in memory. `failure` is one sentence where it could not be loaded."""

    ready: bool
    failure: str | None = None


@dataclass(frozen=True)
class EnginePorts:
    """The engine as the page sees it. Every callable may be called from any thread and raises UserError with a field.

    `generate` writes the video that `request.out` names; the callback that it is given may raise Cancelled.
    """

    generate: Callable[[GenerationRequest, ProgressCallback], GenerationRecord]
    view_portrait: Callable[[Path], PortraitView]
    view_voice: Callable[[Path], VoiceView]
    readiness: Callable[[], Readiness]
