"""Runs requests: loads each model once and keeps it, reads the files first, then hands over to the pipeline.

Importing this module is cheap; torch and the models come with the first job or `warm_up`.
Knows nothing about queues or pages: one call is one job, in the caller's thread, and jobs wait for each other.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import NotFinite, UserError
from engine.progress import ProgressCallback, ProgressMeter, Stage, ignore_progress
from engine.records import GenerationRecord
from engine.request import GenerationRequest
from engine.settings import RuntimeSettings
from engine.variants import Variant, find_variant

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
    """The loaded models of one process: nano as long as it is wanted, and one released model at a time."""

    def __init__(self) -> None:
        self._models: dict[tuple, Animator] = {}
        self._lock = threading.Lock()

    def warm_up(self, model: str = "nano") -> None:
        """Load `model` (a name or a folder) now, so that the first job need not. Raises UserError if it cannot be."""
        import engine.pipeline  # noqa: F401 - takes seconds

        with self._lock:
            self._load(find_variant(model), RuntimeSettings())

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

        Files are checked before a model is loaded. A job that runs out of memory is done again in the next smaller
        memory mode, one whose numbers overflow in float32; both are said in the record's notices. Raises UserError for
        bad input and whatever `on_progress` raises (`Cancelled`, to stop); in either case nothing is left under the
        asked name.
        """
        with self._lock:
            variant = find_variant(request.model)
            runtime = request.settings.runtime
            loaded = (variant.folder.resolve(), runtime) in self._models
            meter = ProgressMeter(on_progress, EXPECTED_S | ({"loading": 0.0} if loaded else {}))
            meter.report("reading", 0, 1)
            from engine.inputs import read_inputs

            inputs = read_inputs(request)
            meter.report("loading", 0, 1)
            from engine import pipeline

            notices: list[str] = []
            if not variant.is_nano:
                _check_installed(variant)
                runtime = self._planned(request, runtime, notices)
            while True:
                animator = self._load(variant, runtime)
                self._wear(animator, request)
                try:
                    record = pipeline.generate(
                        animator,
                        inputs,
                        request,
                        meter,
                        live=live,
                        keep_latents=keep_latents,
                        resume_folder=resume_folder,
                    )
                    break
                except (RuntimeError, MemoryError, NotFinite) as error:
                    runtime = self._instead(runtime, error, notices)
                    self._models.clear()
            meter.finish()
            seconds = {stage: round(spent, 3) for stage, spent in meter.seconds.items()}
            return record.model_copy(update={"seconds": seconds, "notices": (*record.notices, *notices)})

    def _planned(self, request: GenerationRequest, runtime: RuntimeSettings, notices: list[str]) -> RuntimeSettings:
        """`runtime` with what is `auto` decided for this machine's device and this clip; the plan is a notice."""
        from engine.model.devices import plan

        planned, said = plan(request, runtime)
        notices.append(said)
        return planned

    @staticmethod
    def _instead(runtime: RuntimeSettings, error: Exception, notices: list[str]) -> RuntimeSettings:
        """The settings to try again with behind `error`; raises it where there are none."""
        from engine.model.memory import FALLBACK, is_out_of_memory

        if isinstance(error, NotFinite):
            if runtime.precision in {"auto", "fp32"}:
                message = "The model's numbers overflowed even in float32; lower guidance.audio and guidance.text."
                raise UserError(message, "guidance.audio") from error
            notices.append(f"Numbers overflowed in {runtime.precision}: done again in fp32.")
            return runtime.model_copy(update={"precision": "fp32"})
        if not is_out_of_memory(error) or runtime.memory not in FALLBACK:
            raise error
        smaller = FALLBACK[runtime.memory]
        notices.append(f"Memory ran out in the mode {runtime.memory}: done again in the mode {smaller}.")
        return runtime.model_copy(update={"memory": smaller})

    @staticmethod
    def _wear(animator: "Animator", request: GenerationRequest) -> None:
        """The request's LoRA on, any other off."""
        if find_variant(request.model).is_nano:
            return
        from engine.model.lora import load_lora, unload_lora

        transformer: Any = animator.transformer
        unload_lora(transformer)
        if request.lora is not None:
            load_lora(transformer, request.lora, request.settings.lora_scale)

    def _load(self, variant: Variant, runtime: RuntimeSettings) -> "Animator":
        """The model of `variant`, from memory or from its folder."""
        key = (variant.folder.resolve(), RuntimeSettings() if variant.is_nano else runtime)
        if key not in self._models:
            self._models[key] = _load_nano(variant) if variant.is_nano else self._load_released(variant, runtime)
        return self._models[key]

    def _load_released(self, variant: Variant, runtime: RuntimeSettings) -> "Animator":
        from engine.model.devices import device_for, dtype_of, tune
        from engine.pixel_animator import PixelAnimator

        # Two released models are too much for most machines.
        self._models = {key: model for key, model in self._models.items() if model.workers > 1}
        assert variant.name != "nano" and runtime.memory != "auto"
        animator = PixelAnimator(
            variant.folder, variant.name, dtype_of(runtime.precision), device_for(), runtime.memory
        )
        tune(animator.transformer, runtime)
        return animator


def _check_installed(variant: Variant) -> None:
    if not variant.is_installed:
        raise UserError(
            f"The model {variant.name} is not installed in {variant.folder}: python -m engine models download "
            f"{variant.name}, or choose nano.",
            "model",
        )


def _load_nano(variant: Variant) -> "Animator":
    import torch

    from engine.model.nano import NanoModel
    from engine.nano_animator import NanoAnimator

    # The denoising loop runs several forwards at a time instead, each on one thread.
    torch.set_num_threads(1)
    return NanoAnimator(NanoModel.load(variant.folder))
