"""What the page needs from the engine, as plain callables, so that the page starts before anything heavy is imported.

Knows nothing about how they work. `app.py` connects them; the tests connect small real ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.contract.comparison import Comparison
from engine.contract.export import Export
from engine.contract.progress import ProgressCallback
from engine.contract.records import GenerationRecord
from engine.contract.request import Box, GenerationRequest
from engine.contract.settings import LiveSettings
from engine.contract.variants import Task

Live = Callable[[int], LiveSettings]
"""What the denoising loop asks at every step: the settings that the step uses."""


@dataclass(frozen=True)
class PortraitView:
    """A picture as the page shows it: upright and small, with every face that was found, the taken one first.

    `lip_boxes` are the faces' lower halves, in the same order; empty where they are not asked for.
    """

    thumbnail: bytes
    thumbnail_mime: str
    width_px: int
    height_px: int
    faces: tuple[Box, ...]
    notice: str | None = None
    lip_boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class FilmView:
    """A film as the page shows it: a still with the face that will speak, and how long it is."""

    still: PortraitView
    duration_s: float
    fps: float


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


class Generate(Protocol):
    """Writes the video that `request.out` names and returns its record.

    The callback may raise Cancelled, which leaves no video, or StopEarly, which finishes with what is there. `live` is
    asked at every step. What a later run needs to go on from the last finished step is kept in `resume_folder`, the
    final latents in the file `keep_latents`.
    """

    def __call__(
        self,
        request: GenerationRequest,
        on_progress: ProgressCallback,
        *,
        live: Live | None = None,
        keep_latents: Path | None = None,
        resume_folder: Path | None = None,
    ) -> GenerationRecord:
        """Raises UserError for bad input."""
        ...


@dataclass(frozen=True)
class EnginePorts:
    """The engine as the page sees it. Every callable may be called from any thread; UserError names the field."""

    generate: Generate
    view_portrait: Callable[[Path], PortraitView]
    view_film: Callable[[Path], FilmView]
    view_voice: Callable[[Path], VoiceView]
    readiness: Callable[[], Readiness]
    compare: Callable[[GenerationRequest, GenerationRequest, float], Comparison]
    """The face at the given second under two requests that differ in their settings alone. Quick models only."""
    preview_motion: Callable[[GenerationRequest, float], bytes]
    """About a second of the face round the given second, of a request that only draws: an animated WebP."""
    draft: Callable[[GenerationRequest], GenerationRecord]
    """Writes nano's video of a request for nano, beside whatever `generate` is doing."""
    poster: Callable[[Path], bytes]
    """One frame of a video, as a JPEG."""
    export: Callable[[Path, Path, Export], list[Path]]
    """Writes a finished video as it is taken away to the second path; the files that were written, captions too."""
    write_motion: Callable[[Path, Path], int]
    """Writes a video's motion as ARKit blend shapes to the second path, a .csv; the number of frames."""
    notices: Callable[[str, Task, str], list[str]]
    """What a model, by name or folder, says of a task and a prompt beforehand: what it passes over or cannot do."""
