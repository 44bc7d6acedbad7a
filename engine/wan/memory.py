"""Memory: what a clip needs on a device in each mode, and putting a model into a mode.

    full        everything stays on the device
    balanced    one part at a time: text encoder, then transformer, then video autoencoder (model offload)
    quantised   the transformer stays, with 8-bit integer weights; the layers of the text encoder come one by one
                (group offload), the video autoencoder works tile by tile
    low         as quantised, but the transformer's blocks come one by one too, in half precision stored as 8-bit floats

The estimate is arithmetic on numbers of weights, tokens and pixels; the tests hold it against tensors really allocated.
Knows nothing about requests. Departure: on a CPU there is nowhere to offload to, so that only tiles and
8-bit integers save anything there.
"""

import gc
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import gguf
import psutil
import torch
from diffusers.hooks import apply_group_offloading
from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter
from safetensors import SafetensorError, safe_open
from torch import nn

from engine.contract.errors import UserError
from engine.contract.variants import SPEECH_ENCODERS, TRANSFORMER_WEIGHTS
from engine.wan.checkpoints import read_tensors
from engine.wan.layout import AUTOENCODER_FILE, BASE, IMAGE_FILE, TEXT_FILE
from engine.wan.sizes import autoencoder_base_dim

Mode = Literal["full", "balanced", "low", "quantised"]
MODES: tuple[Mode, ...] = ("full", "balanced", "quantised", "low")
"""From the fastest to the smallest. 8-bit integers with a scale for every 32 come before the streaming of blocks,
because they are nearer to the published weights than 8-bit floats are, and nothing has to be moved."""
FALLBACK: dict[str, Mode] = dict(pairwise(MODES))
"""What is tried next where a mode runs out of memory."""
TILED_MODES = frozenset({"low", "quantised"})
TILE_PX, TILE_OVERLAP_PX = 256, 64
"""Side of the video autoencoder's tiles in the small modes, and what neighbours share."""

QUANTISATION = gguf.GGMLQuantizationType.Q8_0
QUANTISED_GROUP, QUANTISED_GROUP_BYTES = gguf.GGML_QUANT_SIZES[QUANTISATION]
"""So many weights share a scale, and take so many bytes together with it."""

GB = 1e9
HALF_BYTES, FLOAT_BYTES = 2, 4
"""The text encoder is published in bfloat16, the smaller encoders in float32."""
SAFETY = 1.1
"""Room for the allocator and the kernels' workspaces."""
TOKEN_WIDTHS = 5.2
"""Tensors of a token's width that a block holds at once: the residual, its norm, query, key, value, rotary copies."""
HIDDEN_WIDTHS = 2
"""Tensors of the feed-forward's width."""
EXACT_WIDTHS = 2
"""Norms are computed in float32: in half precision so many tensors of a token's width take half as much again."""
DECODED_WIDTHS = 51
"""Feature maps of the autoencoder's base width and a frame's full size while one latent frame of four is decoded, with
the memory of the frames before it."""
TEXT_TABLE_SHARE = 0.19
"""Of the text encoder's weights, its table of words: the largest of its layers."""
CONTEXT_BYTES = 300e6
"""What a CUDA context itself takes."""


@dataclass(frozen=True)
class Geometry:
    """What the arithmetic needs of a model, as numbers of weights, and its widths."""

    transformer_weights: int
    text_weights: int
    image_weights: int
    """Of the picture's encoder, which computes in float32, as do the next two."""
    speech_weights: int
    autoencoder_weights: int
    width: int
    hidden_width: int
    layers: int
    autoencoder_width: int


def read_geometry(folder: Path) -> Geometry:
    """Of the released model in `folder`, from its files' headers and sizes; no weights are read.

    Raises UserError where a file is not there or cannot be read.
    """
    try:
        with safe_open(folder / TRANSFORMER_WEIGHTS, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        text = (folder / BASE / TEXT_FILE).stat().st_size
        speech = sum(file.stat().st_size for name in SPEECH_ENCODERS.values() for file in (folder / name).glob("*"))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The model in {folder} is not whole: {str(error).splitlines()[0]}; download it again.", "model"
        ) from error
    image, autoencoder = (
        {name: tuple(tensor.shape) for name, tensor in read_tensors(folder / BASE / file).items()}
        for file in (IMAGE_FILE, AUTOENCODER_FILE)
    )
    width, hidden_width = (shapes.get(name, (0,))[0] for name in ("patch_embedding.weight", "blocks.0.ffn.0.weight"))
    return Geometry(
        transformer_weights=_count(shapes),
        text_weights=text // HALF_BYTES,
        # The text tower in the same file is not used.
        image_weights=_count({name: shape for name, shape in image.items() if name.startswith("visual.")}),
        speech_weights=speech // FLOAT_BYTES,
        autoencoder_weights=_count(autoencoder),
        width=width,
        hidden_width=hidden_width,
        layers=max(1, len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})),
        autoencoder_width=autoencoder_base_dim(autoencoder),
    )


def _count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


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
    exact_bytes = (FLOAT_BYTES - weight_bytes) * EXACT_WIDTHS * geometry.width
    token_bytes = (TOKEN_WIDTHS * geometry.width + HIDDEN_WIDTHS * geometry.hidden_width) * weight_bytes + exact_bytes
    return rows * tokens * token_bytes


def decoding_bytes(geometry: Geometry, pixels: int) -> float:
    """What the video autoencoder holds besides its weights while it decodes frames, or tiles, of so many pixels."""
    return pixels * geometry.autoencoder_width * DECODED_WIDTHS * FLOAT_BYTES


def estimate(
    geometry: Geometry,
    mode: Mode,
    *,
    tokens: int,
    rows: int,
    pixels: int,
    weight_bytes: int = HALF_BYTES,
    on_cpu: bool = False,
) -> Estimate:
    """Peak bytes of a clip: windows of `tokens` tokens, `rows` of them in a forward, frames of `pixels` pixels.

    `weight_bytes` is 4 for float32, 2 for half precision. `on_cpu`: the device is the host, where everything is.
    """
    text = geometry.text_weights * weight_bytes
    transformer = geometry.transformer_weights * weight_bytes
    image, speech, autoencoder = (
        weights * FLOAT_BYTES
        for weights in (geometry.image_weights, geometry.speech_weights, geometry.autoencoder_weights)
    )
    running = activation_bytes(geometry, tokens, rows, weight_bytes)
    decoding = decoding_bytes(geometry, min(pixels, TILE_PX**2) if mode in TILED_MODES else pixels)
    if mode == "quantised":
        transformer = transformer * QUANTISED_GROUP_BYTES // (QUANTISED_GROUP * weight_bytes)
    if on_cpu or mode == "full":
        # The text encoder is let go before anything else runs.
        kept = transformer + image + speech + autoencoder
        return Estimate(*(SAFETY * (kept + part) for part in (max(text, decoding), running, decoding)))
    if mode == "balanced":
        stays, text_part = 0.0, float(text)
    else:
        stays, text_part = float(transformer) if mode == "quantised" else 0.0, TEXT_TABLE_SHARE * text
    computing = 2 * transformer / geometry.layers if mode == "low" else transformer
    encoding = stays + max(text_part, image, speech, autoencoder + decoding)
    parts = (encoding, computing + running, stays + autoencoder + decoding)
    return Estimate(*(SAFETY * part + CONTEXT_BYTES for part in parts))


def choose_mode(estimates: dict[Mode, Estimate], free_bytes: float) -> Mode:
    """The first of the modes that fits. Raises UserError where none does."""
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


def free_bytes(device: torch.device, held_bytes: int) -> float:
    """What is free on the device, or in the machine, with what this process holds of it and could give back."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
    return float(psutil.virtual_memory().available + held_bytes)


def place(transformer: Any, mode: Mode, device: torch.device, dtype: torch.dtype) -> None:
    """Put the transformer into `mode` for `device`; of the other parts see `on_device` and `layer_by_layer`."""
    match mode:
        case "full" | "balanced":
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
            quantise(transformer, dtype)
            transformer.to(device)


def quantise(transformer: nn.Module, dtype: torch.dtype) -> None:
    """The weights of the blocks' linear layers as 8-bit integers, a scale for every 32; activations stay in `dtype`.

    GGUF's Q8_0 through diffusers. A layer whose width is no multiple of 32 stays as it is.
    """
    for module in list(transformer.get_submodule("blocks").modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child.in_features % QUANTISED_GROUP == 0:
                setattr(module, name, _quantised(child, dtype))


@torch.no_grad()
def _quantised(linear: nn.Linear, dtype: torch.dtype) -> GGUFLinear:
    packed = gguf.quants.quantize(linear.weight.float().cpu().numpy(), QUANTISATION)
    layer = GGUFLinear(
        linear.in_features, linear.out_features, linear.bias is not None, dtype, device=torch.device("meta")
    )
    layer.weight = GGUFParameter(torch.from_numpy(packed), quant_type=QUANTISATION)
    layer.bias = linear.bias
    return layer


def layer_by_layer(module: nn.Module, device: torch.device) -> None:
    """`module`'s layers come to the device as they are called, and go again."""
    streams = device.type == "cuda"
    apply_group_offloading(module, device, offload_type="leaf_level", use_stream=streams, low_cpu_mem_usage=streams)


@contextmanager
def on_device(module: nn.Module, mode: Mode, device: torch.device) -> Iterator[None]:
    """`module` on the device while it is used; in `full` it stays there, otherwise it goes back to the CPU."""
    module.to(device)
    try:
        yield
    finally:
        if mode != "full" and device.type != "cpu":
            module.to("cpu")
            free_unused()


def free_unused() -> None:
    """Give back what no living tensor holds, on the host and on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no memory left."""
    # The CPU's allocator raises a bare RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
