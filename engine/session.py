"""Runs requests: loads each model once and keeps it, reads the files first, then hands over to the pipeline.

Importing this module is cheap; torch and the models come with the first job or `warm_up`.
Knows nothing about queues or pages: one call is one job, in the caller's thread, and jobs wait for each other.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.progress import ProgressCallback, ProgressMeter, Stage, ignore_progress
from engine.records import GenerationRecord
from engine.request import GenerationRequest
from engine.variants import find_variant

if TYPE_CHECKING:
    from engine.animator import Animator
    from engine.settings import LiveSettings

EXPECTED_S: dict[Stage, float] = {
    "reading": 1.0,
    "loading": 4.0,
    "encoding": 0.5,
    "sampling": 4.0,
    "decoding": 4.0,
    "writing": 0.1,
}
"""Seconds of a short clip on two cores, in the order the stages run."""


class Session:
    """The loaded models of one process."""

    def __init__(self) -> None:
        self._models: dict[Path, Animator] = {}
        self._lock = threading.Lock()

    def warm_up(self, model: str = "nano") -> None:
        """Load `model` (a name or a folder) now, so that the first job need not. Raises UserError if it cannot be."""
        import engine.pipeline  # noqa: F401 - takes seconds

        with self._lock:
            self._load(model)

    def generate(
        self,
        request: GenerationRequest,
        on_progress: ProgressCallback = ignore_progress,
        *,
        live: "Callable[[int], LiveSettings] | None" = None,
        keep_latents: Path | None = None,
        resume_folder: Path | None = None,
    ) -> GenerationRecord:
        """Make the video `request.out` and return its record; see `engine.pipeline.generate` for the last three.

        Files are checked before a model is loaded. Raises UserError for bad input and whatever `on_progress` raises
        (`Cancelled`, to stop); in either case nothing is left under the asked name.
        """
        with self._lock:
            loaded = find_variant(request.model).folder.resolve() in self._models
            meter = ProgressMeter(on_progress, EXPECTED_S | ({"loading": 0.0} if loaded else {}))
            meter.report("reading", 0, 1)
            from engine.inputs import read_inputs

            inputs = read_inputs(request)
            meter.report("loading", 0, 1)
            model = self._load(request.model)
            from engine import pipeline

            record = pipeline.generate(
                model, inputs, request, meter, live=live, keep_latents=keep_latents, resume_folder=resume_folder
            )
            meter.finish()
            return record.model_copy(update={"seconds": {k: round(v, 3) for k, v in meter.seconds.items()}})

    def _load(self, name: str) -> "Animator":
        """The model that `name` means, from memory or from its folder. One released model at a time is kept."""
        variant = find_variant(name)
        folder = variant.folder.resolve()
        if folder not in self._models:
            import torch

            if variant.name == "nano":
                from engine.model.nano import NanoModel
                from engine.nano_animator import NanoAnimator

                # The denoising loop runs several forwards at a time instead, each on one thread.
                torch.set_num_threads(1)
                self._models[folder] = NanoAnimator(NanoModel.load(folder))
            else:
                from engine.pixel_animator import PixelAnimator

                self._models = {kept: model for kept, model in self._models.items() if model.workers > 1}
                self._models[folder] = PixelAnimator(folder, variant.name, torch.float32, torch.device("cpu"))
        return self._models[folder]
