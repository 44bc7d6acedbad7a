"""Runs requests: loads each model once and keeps it, reads the files first, then hands over to the pipeline.

Importing this module is cheap; torch and the models come with the first job or `warm_up`.
Knows nothing about queues or pages: one call is one job, in the caller's thread, and jobs wait for each other.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.contract.errors import NotFinite, UserError, full_disk_said
from engine.contract.motion_edit import MotionEdit
from engine.contract.progress import ProgressCallback, ProgressMeter, Stage, ignore_progress
from engine.contract.records import GenerationRecord
from engine.contract.request import GenerationRequest
from engine.contract.settings import RuntimeSettings
from engine.contract.variants import FPS, Variant, find_variant

if TYPE_CHECKING:
    from torch import Tensor

    from engine.contract.settings import LiveSettings
    from engine.media.inputs import Inputs
    from engine.sampling.animator import Animator

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
        self._shown: tuple[GenerationRequest, Inputs, Tensor] | None = None
        """The clip whose edits are shown, as it was asked for, with its files and its latents."""

    def warm_up(self, model: str = "nano") -> None:
        """Load `model` (a name or a folder) now, so that the first job need not. Raises UserError if it cannot be.

        How a released model is loaded depends on the clip: of it only the libraries are loaded, and that it is there.
        """
        import engine.pipeline  # takes seconds

        variant = find_variant(model)
        if not variant.is_nano:
            import engine.wan.animator  # noqa: F401

            _check_installed(variant)
            return
        with self._lock:
            self._load(variant, RuntimeSettings())

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

        Files are checked before a model is loaded, and the plan for the memory is told. A job that runs out of memory
        is done again in the next smaller memory mode, one whose numbers overflow in float32; both are said in the
        record's notices. Raises UserError for bad input and a full disk, and whatever `on_progress` raises
        (`Cancelled`, to stop); in either case nothing is left under the asked name.
        """
        with self._lock, full_disk_said(request.out.parent, "out"):
            variant = find_variant(request.model)
            runtime = request.settings.runtime
            loaded = any(folder == variant.folder.resolve() for folder, _ in self._models)
            meter = ProgressMeter(on_progress, EXPECTED_S | ({"loading": 0.0} if loaded else {}))
            meter.report("reading", 0, 1)
            from engine.media.inputs import read_inputs

            inputs = read_inputs(request)
            meter.report("loading", 0, 1)
            from engine import pipeline

            if not variant.is_nano:
                runtime, said = _planned(variant, request, inputs, self._held_bytes())
                meter.tell("loading", said)
            notices: list[str] = []
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
                    runtime, said = _instead(runtime, error)
                # Behind the handler, whose error holds on to the tensors of what was running.
                notices.append(said)
                meter.tell("loading", said)
                del animator
                self._models.clear()
                _free_unused()
            meter.finish()
            seconds = {stage: round(spent, 3) for stage, spent in meter.seconds.items()}
            return record.model_copy(update={"seconds": seconds, "notices": (*record.notices, *notices)})

    def preview_motion(self, request: GenerationRequest, at_s: float) -> bytes:
        """About a second round `at_s` of a nano request that only draws, the face alone: an animated WebP.

        Raises UserError where the latents are not the clip's, or its edit does not fit it.
        """
        with self._lock:
            from engine import pipeline
            from engine.media.inputs import read_inputs
            from engine.nano.animator import NanoAnimator

            animator = self._load(find_variant(request.model), RuntimeSettings())
            assert isinstance(animator, NanoAnimator)
            unedited = request.model_copy(update={"motion": MotionEdit()})
            if self._shown is None or self._shown[0] != unedited:
                inputs = read_inputs(request)
                self._shown = (unedited, inputs, pipeline.kept_latents(request, animator.encode(inputs, request)))
            _, inputs, latents = self._shown
            request.motion.check_length(inputs.num_frames / FPS)
            return animator.preview_motion(latents, inputs, request, at_s)

    @staticmethod
    def _wear(animator: "Animator", request: GenerationRequest) -> None:
        """The request's LoRA on, any other off."""
        if find_variant(request.model).is_nano:
            return
        from engine.wan.lora import load_lora, unload_lora

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

    def _held_bytes(self) -> int:
        """What the weights of the loaded released model take; a clip that needs another mode may have it."""
        held = [model.transformer for model in self._models.values() if model.workers == 1]
        return sum(parameter.nbytes for transformer in held for parameter in transformer.parameters())

    def _load_released(self, variant: Variant, runtime: RuntimeSettings) -> "Animator":
        from engine.wan.animator import PixelAnimator
        from engine.wan.devices import device_for, dtype_of, tune
        from engine.wan.parallel import processes, share

        # Two released models are too much for most machines.
        self._models = {key: model for key, model in self._models.items() if model.workers > 1}
        _free_unused()
        assert variant.name != "nano" and runtime.memory != "auto"
        device = device_for()
        animator = PixelAnimator(variant.folder, variant.name, dtype_of(runtime.precision), device, runtime.memory)
        tune(animator.transformer, runtime)
        if processes() > 1:
            share(animator.transformer, device)
        return animator


def _check_installed(variant: Variant) -> None:
    if not variant.is_installed:
        raise UserError(
            f"The model {variant.name} is not installed in {variant.folder}: python -m engine models download "
            f"{variant.name}, or choose nano.",
            "model",
        )


def _planned(
    variant: Variant, request: GenerationRequest, inputs: "Inputs", held_bytes: int
) -> tuple[RuntimeSettings, str]:
    """The runtime settings with what is `auto` decided for this machine's device and this clip, and the plan."""
    from engine.wan.animator import WINDOW_LATENT_FRAMES, frame_size
    from engine.wan.devices import check_attention, plan
    from engine.wan.parallel import processes

    settings = request.settings
    _check_installed(variant)
    check_attention(settings.runtime)
    if processes() > 1 and settings.cache.kind == "first_block":
        raise UserError(
            "The step cache first_block decides in every process apart: choose magcache for several devices.",
            "cache.kind",
        )
    return plan(
        variant.folder,
        settings.runtime,
        num_frames=inputs.num_frames,
        size=frame_size(inputs, settings.sampling.size_px),
        # The reference in front of a window is a latent frame too.
        window_latent_frames=1 + (settings.long_video.window_latent_frames or WINDOW_LATENT_FRAMES),
        held_bytes=held_bytes,
    )


def _instead(runtime: RuntimeSettings, error: Exception) -> tuple[RuntimeSettings, str]:
    """The settings to try again with behind `error`, in words too; raises it where there are none."""
    from engine.wan.memory import FALLBACK, is_out_of_memory
    from engine.wan.parallel import processes

    if isinstance(error, NotFinite):
        if runtime.precision not in {"fp16", "bf16"}:
            message = "The model's numbers overflowed even in float32; lower guidance.audio and guidance.text."
            raise UserError(message, "guidance.audio") from error
        said = f"Numbers overflowed in {runtime.precision}: done again in fp32."
        return runtime.model_copy(update={"precision": "fp32"}), said
    if not is_out_of_memory(error):
        raise error
    # Processes that share a clip would have to run out together.
    smaller = FALLBACK.get(runtime.memory) if processes() == 1 else None
    if smaller is None:
        raise UserError(
            f"Memory ran out in the mode {runtime.memory}: choose a smaller sampling.size_px or "
            "long_video.window_latent_frames, or the model nano.",
            "runtime.memory",
        ) from error
    said = f"Memory ran out in the mode {runtime.memory}: done again in the mode {smaller}."
    return runtime.model_copy(update={"memory": smaller}), said


def _free_unused() -> None:
    from engine.wan.memory import free_unused

    free_unused()


def _load_nano(variant: Variant) -> "Animator":
    import torch

    from engine.nano.animator import NanoAnimator
    from engine.nano.model import NanoModel

    # The denoising loop runs several forwards at a time instead, each on one thread.
    torch.set_num_threads(1)
    return NanoAnimator(NanoModel.load(variant.folder))
