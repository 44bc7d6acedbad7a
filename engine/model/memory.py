"""Memory: what a clip needs on a device in each mode, and putting a model into a mode.

    full        everything stays on the device
    balanced    one part at a time: text encoder, then transformer, then video autoencoder
    low         the transformer's blocks come one by one (group offload), in half precision stored as 8-bit floats;
                the text encoder stays on the CPU
    quantised   weights as 8-bit integers on the device, the rest as in low

The estimate is arithmetic on numbers of weights and tokens; the tests hold it against tensors really allocated. Knows
nothing about requests.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from engine.errors import UserError
from engine.variants import TRANSFORMER_WEIGHTS

Mode = Literal["full", "balanced", "low", "quantised"]
MODES: tuple[Mode, ...] = ("full", "balanced", "low", "quantised")
"""From the fastest to the smallest but for the last, which trades accuracy too."""
FALLBACK: dict[str, Mode] = {"full": "balanced", "balanced": "low", "low": "quantised"}
"""What is tried next where a mode runs out of memory."""

GB = 1e9
HALF_BYTES, FLOAT_BYTES = 2, 4
"""The text encoder is published in bfloat16, the smaller encoders in float32."""
SAFETY = 1.1
"""Room for the allocator and the kernels' workspaces."""
TOKEN_WIDTHS = 5.5
"""Tensors of a token's width that a block holds at once: the residual, its norm, query, key, value, rotary copies."""
HIDDEN_WIDTHS = 2
"""Tensors of the feed-forward's width."""
DECODED_CHANNELS = 7
"""Feature maps of the autoencoder's base width, for four frames of full size, while one latent frame is decoded."""
CONTEXT_BYTES = 300e6
"""What a CUDA context itself takes."""


@dataclass(frozen=True)
class Geometry:
    """What the arithmetic needs of a model, as numbers of weights, and its widths."""

    transformer_weights: int
    text_weights: int
    other_weights: int
    """Of the image, speech and video encoders, which compute in float32."""
    width: int
    hidden_width: int
    layers: int
    autoencoder_width: int


def read_geometry(folder: Path) -> Geometry:
    """Of the released model in `folder`, from its files' headers and sizes; nothing is loaded.

    Raises UserError where the transformer's file cannot be read.
    """
    try:
        with safe_open(folder / TRANSFORMER_WEIGHTS, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{folder / TRANSFORMER_WEIGHTS} cannot be read ({error}); download it again.", "model"
        ) from error
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    text = sum(size for name, size in sizes.items() if "t5" in name)
    others = sum(sizes.values()) - text - (folder / TRANSFORMER_WEIGHTS).stat().st_size
    return Geometry(
        transformer_weights=sum(math.prod(shape) for shape in shapes.values()),
        text_weights=text // HALF_BYTES,
        other_weights=others // FLOAT_BYTES,
        width=shapes["patch_embedding.weight"][0],
        hidden_width=shapes["blocks.0.ffn.0.weight"][0],
        layers=len({name.split(".")[1] for name in shapes if name.startswith("blocks.")}),
        autoencoder_width=96,
    )


@dataclass(frozen=True)
class Estimate:
    """Peak bytes on the device in each stage of a clip."""

    encode_bytes: float
    sample_bytes: float
    decode_bytes: float

    @property
    def peak_bytes(self) -> float:
        """The most of the three."""
        return max(self.encode_bytes, self.sample_bytes, self.decode_bytes)


def activation_bytes(geometry: Geometry, tokens: int, rows: int, weight_bytes: int) -> float:
    """What a forward of `rows` samples of `tokens` holds besides the weights: the block that is running."""
    token_bytes = TOKEN_WIDTHS * geometry.width + HIDDEN_WIDTHS * geometry.hidden_width
    return rows * tokens * token_bytes * max(weight_bytes, 2)


def estimate(geometry: Geometry, mode: Mode, *, tokens: int, rows: int, pixels: int, weight_bytes: int = 2) -> Estimate:
    """Peak bytes of a clip: windows of `tokens` tokens, `rows` of them in a forward, frames of `pixels` pixels.

    `weight_bytes` is 4 for float32, 2 for half precision.
    """
    text = geometry.text_weights * weight_bytes
    transformer = geometry.transformer_weights * weight_bytes
    others = geometry.other_weights * 4
    running = activation_bytes(geometry, tokens, rows, weight_bytes)
    decoding = 4 * pixels * geometry.autoencoder_width * DECODED_CHANNELS * 4
    parts: tuple[float, float, float]
    match mode:
        case "full":
            # The text encoder is let go before the transformer runs.
            parts = (text + transformer + others, transformer + others + running, transformer + others + decoding)
        case "balanced":
            parts = (max(text, others), transformer + running, others + decoding)
        case "low":
            two_blocks = 2 * transformer / geometry.layers
            parts = (others, two_blocks + running, others + decoding)
        case "quantised":
            parts = (others, transformer / weight_bytes + running, others + decoding)
    return Estimate(*(SAFETY * part + CONTEXT_BYTES for part in parts))


def choose_mode(estimates: dict[Mode, Estimate], free_bytes: float) -> Mode:
    """The first mode of full, balanced and low that fits, or quantised where none does.

    Raises UserError where not even that fits.
    """
    for mode in MODES:
        if estimates[mode].peak_bytes <= free_bytes:
            return mode
    least = min(part.peak_bytes for part in estimates.values())
    raise UserError(
        f"The clip needs at least {least / GB:.1f} GB of memory, {free_bytes / GB:.1f} GB are free: choose a smaller "
        "sampling.size_px or long_video.window_latent_frames, or the model nano.",
        "runtime.memory",
    )


def describe(mode: Mode, needed: Estimate, free_bytes: float, frames: int, size: tuple[int, int]) -> str:
    """The plan in one sentence."""
    height, width = size
    return (
        f"Memory mode {mode}: needs about {needed.peak_bytes / GB:.1f} GB of {free_bytes / GB:.1f} GB; {frames} frames "
        f"at {width}×{height}."
    )


def free_bytes(device: torch.device) -> float:
    """What is free on the device, or in the machine."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)


def place(transformer: Any, mode: Mode, device: torch.device, dtype: torch.dtype) -> None:
    """Put the transformer into `mode` for `device`; of the other parts see `on_device`."""
    match mode:
        case "full":
            transformer.to(device)
        case "balanced":
            transformer.to(device)
        case "low":
            if dtype != torch.float32:
                transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
            transformer.enable_group_offload(
                onload_device=device,
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=1,
                use_stream=device.type == "cuda",
            )
        case "quantised":
            quantise(transformer)
            transformer.to(device)


def quantise(transformer: nn.Module) -> None:
    """Weights of the blocks' linear layers as 8-bit integers with a scale per channel; activations stay as they are."""
    from optimum.quanto import freeze, qint8
    from optimum.quanto import quantize as to_quanto

    to_quanto(transformer.get_submodule("blocks"), weights=qint8)
    freeze(transformer.get_submodule("blocks"))


@contextmanager
def on_device(module: nn.Module, mode: Mode, device: torch.device) -> Iterator[None]:
    """`module` on the device while it is used; in `full` it stays there, otherwise it goes back to the CPU."""
    module.to(device)
    try:
        yield
    finally:
        if mode != "full" and device.type != "cpu":
            module.to("cpu")
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError)
