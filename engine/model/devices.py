"""The device at hand: which one, what it computes well, and how a clip fits into it.

Knows nothing about files. `plan` turns what a request leaves to us (`auto`) into a decision and says it.
"""

from typing import Any

import torch

from engine.errors import UserError
from engine.model.memory import MODES, choose_mode, describe, estimate, free_bytes, read_geometry
from engine.request import GenerationRequest
from engine.settings import RuntimeSettings
from engine.variants import find_variant

WINDOW_LATENT_FRAMES = 29
TOKEN_PX = 16
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def device_for() -> torch.device:
    """The first CUDA device, Apple's, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def best_precision(device: torch.device) -> str:
    """bf16 where a CUDA device computes it, fp16 on older ones; fp32 elsewhere: CPUs are far slower in halves."""
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def dtype_of(precision: str) -> torch.dtype:
    """The type of a precision by its name, `auto` being the device's best."""
    return DTYPES[best_precision(device_for()) if precision == "auto" else precision]


def plan(request: GenerationRequest, runtime: RuntimeSettings) -> tuple[RuntimeSettings, str]:
    """`runtime` decided for this device, and the plan in words. Raises UserError where the clip does not fit."""
    device = device_for()
    precision = best_precision(device) if runtime.precision == "auto" else runtime.precision
    side = request.settings.sampling.size_px
    window = request.settings.long_video.window_latent_frames or WINDOW_LATENT_FRAMES
    sizes = {
        "tokens": window * (side // TOKEN_PX) ** 2,
        "rows": 1,
        "pixels": side * side,
        "weight_bytes": DTYPES[precision].itemsize,
    }
    geometry = read_geometry(find_variant(request.model).folder)
    estimates = {mode: estimate(geometry, mode, **sizes) for mode in MODES}
    free = free_bytes(device)
    mode = choose_mode(estimates, free) if runtime.memory == "auto" else runtime.memory
    said = describe(mode, estimates[mode], free, 4 * (window - 1) + 1, (side, side))
    return runtime.model_copy(update={"memory": mode, "precision": precision}), said


def tune(transformer: Any, runtime: RuntimeSettings) -> None:
    """The asked attention kernel and compilation. Raises UserError for a kernel that is not installed."""
    if runtime.attention != "native":
        try:
            transformer.set_attention_backend(runtime.attention)
        except (RuntimeError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0][:160]
            raise UserError(
                f"The attention kernel {runtime.attention} cannot be used ({reason}): install it, or choose native.",
                "runtime.attention",
            ) from error
    if runtime.compile:
        transformer.compile_repeated_blocks()
