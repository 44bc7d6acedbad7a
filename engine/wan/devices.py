"""The device at hand: which one, what it computes well, and how a clip fits into it.

`plan` turns what a request leaves to us (`auto`) into a decision and says it. Knows nothing about requests.
"""

import os
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    _check_attention_backend_requirements,
)

from engine.contract.errors import UserError
from engine.contract.settings import RuntimeSettings
from engine.sampling.forwards import BATCHED_TOKENS, MAX_ROWS
from engine.sampling.tasks import next_valid_length, to_latent_frames
from engine.wan.memory import MODES, choose_mode, describe, estimate, free_bytes, read_geometry
from engine.wan.parallel import processes

TOKEN_PX = 16
"""Side in pixels of what a token stands for."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def device_for() -> torch.device:
    """A CUDA device, each process of a shared clip its own, Apple's, or the CPU."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def best_precision(device: torch.device) -> str:
    """bf16 where a CUDA device computes it, fp16 on older ones; fp32 elsewhere: CPUs are far slower in halves."""
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def dtype_of(precision: str) -> torch.dtype:
    """The type of a precision by its name, `auto` being the device's best."""
    return DTYPES[best_precision(device_for()) if precision == "auto" else precision]


def plan(
    folder: Path,
    runtime: RuntimeSettings,
    *,
    num_frames: int,
    size: tuple[int, int],
    window_latent_frames: int,
    held_bytes: int = 0,
) -> tuple[RuntimeSettings, str]:
    """`runtime` decided for this device and a clip of the released model in `folder`, and the plan in words.

    `num_frames` frames of `size` (height, width) pixels are made in windows of so many latent frames. `held_bytes` are
    taken by a loaded model that would make room. Raises UserError where the clip does not fit, or the model is not
    whole.
    """
    device = device_for()
    precision = best_precision(device) if runtime.precision == "auto" else runtime.precision
    height, width = size
    frames = min(window_latent_frames, to_latent_frames(next_valid_length(num_frames)))
    tokens = frames * (height // TOKEN_PX) * (width // TOKEN_PX)
    geometry = read_geometry(folder)
    estimates = {
        mode: estimate(
            geometry,
            mode,
            tokens=-(-tokens // processes()),
            rows=1 if tokens > BATCHED_TOKENS else MAX_ROWS,
            pixels=height * width,
            weight_bytes=DTYPES[precision].itemsize,
            on_cpu=device.type == "cpu",
        )
        for mode in MODES
    }
    free = free_bytes(device, held_bytes)
    mode = choose_mode(estimates, free) if runtime.memory == "auto" else runtime.memory
    said = describe(mode, estimates[mode], free, num_frames, size)
    if runtime.compile and mode == "quantised":
        said += " 8-bit weights cannot be compiled: runtime.compile is left out."
    return runtime.model_copy(update={"memory": mode, "precision": precision}), said


def check_attention(runtime: RuntimeSettings) -> None:
    """Raise UserError where the asked attention kernel is not installed, or does not run on this device."""
    if runtime.attention == "native":
        return
    kernel = AttentionBackendName(runtime.attention)
    try:
        _check_attention_backend_requirements(kernel)
    except (RuntimeError, ValueError, ImportError) as error:
        raise _no_kernel(runtime, error) from error
    if device_for().type != "cuda":
        raise _no_kernel(runtime, "it needs a CUDA device")
    if processes() > 1 and not _AttentionBackendRegistry._is_context_parallel_available(kernel):
        raise _no_kernel(runtime, "it cannot share a clip between devices")


def _no_kernel(runtime: RuntimeSettings, reason: object) -> UserError:
    first_line = str(reason).strip().splitlines()[0][:160].rstrip(".")
    return UserError(
        f"The attention kernel {runtime.attention} cannot be used ({first_line}): install it, or choose native.",
        "runtime.attention",
    )


def tune(transformer: Any, runtime: RuntimeSettings, compiler: str = "inductor") -> None:
    """The asked attention kernel, and compilation of the block that repeats. Raises UserError as `check_attention`.

    Weights of GGUF's kind do not survive torch's tracing; the mode `quantised` is not compiled, which `plan` says.
    """
    check_attention(runtime)
    if runtime.attention != "native":
        transformer.set_attention_backend(runtime.attention)
    if runtime.compile and runtime.memory != "quantised":
        transformer.compile_repeated_blocks(backend=compiler)
