"""The sizes of a released model, read from the shapes in its files, so that files of any size load by one code.

Knows the original names of a few tensors and the families' constant ratios. A tensor that is lacking gives the released
size: `engine.wan.checkpoints.match` says then what is missing. Departure: none; shapes cannot tell the number of
attention heads, which is that of a head's width in the family unless a config file says so.
"""

from collections.abc import Mapping
from typing import Any, Literal

from transformers import CLIPVisionConfig, UMT5Config

from engine.wan.audio_projection import WINDOW

Shapes = Mapping[str, tuple[int, ...]]
WAN_HEAD_WIDTH = 128
CLIP_HEAD_WIDTH = 80


def _size(shapes: Shapes, name: str, axis: int, released: int) -> int:
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else released


def _layers(shapes: Shapes, prefix: str, released: int) -> int:
    numbers = {name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)}
    return len(numbers) or released


def transformer_sizes(
    shapes: Shapes, variant: Literal["preview", "flash"], heads: int | None, audio_dim: int
) -> dict[str, Any]:
    """Arguments of `EchoMimicTransformer3DModel` for a file of these `shapes`; `audio_dim` is the speech encoder's."""
    width = _size(shapes, "patch_embedding.weight", 0, 1536)
    heads = heads or max(1, width // WAN_HEAD_WIDTH)
    sizes: dict[str, Any] = {
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "in_channels": _size(shapes, "patch_embedding.weight", 1, 36),
        "text_dim": _size(shapes, "text_embedding.0.weight", 1, 4096),
        "freq_dim": _size(shapes, "time_embedding.0.weight", 1, 256),
        "ffn_dim": _size(shapes, "blocks.0.ffn.0.weight", 0, 8960),
        "num_layers": _layers(shapes, "blocks.", 30),
        "image_dim": _size(shapes, "img_emb.proj.0.weight", 0, 1280),
        "audio_dim": audio_dim,
    }
    if variant == "flash":
        sizes |= {
            "audio_layers": _size(shapes, "audio_injection.proj1.weight", 1, WINDOW * 12 * 768) // (WINDOW * audio_dim),
            "audio_intermediate_dim": _size(shapes, "audio_injection.proj1.weight", 0, 512),
            "audio_context_tokens": _size(shapes, "audio_injection.proj3.weight", 0, 32 * 1536) // width,
        }
    return sizes


def umt5_config(shapes: Shapes) -> UMT5Config:
    """Of the text encoder."""
    heads = _size(shapes, "blocks.0.pos_embedding.embedding.weight", 1, 64)
    return UMT5Config(
        vocab_size=_size(shapes, "token_embedding.weight", 0, 256_384),
        d_model=_size(shapes, "token_embedding.weight", 1, 4096),
        d_kv=_size(shapes, "blocks.0.attn.q.weight", 0, 4096) // heads,
        d_ff=_size(shapes, "blocks.0.ffn.fc1.weight", 0, 10_240),
        num_layers=_layers(shapes, "blocks.", 24),
        num_heads=heads,
        feed_forward_proj="gated-gelu",
    )


def clip_config(shapes: Shapes) -> CLIPVisionConfig:
    """Of the image encoder."""
    width = _size(shapes, "visual.patch_embedding.weight", 0, 1280)
    patch = _size(shapes, "visual.patch_embedding.weight", 2, 14)
    tokens = _size(shapes, "visual.pos_embedding", 1, 257)
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=_size(shapes, "visual.transformer.0.mlp.0.weight", 0, 5120),
        num_hidden_layers=_layers(shapes, "visual.transformer.", 32),
        num_attention_heads=max(1, width // CLIP_HEAD_WIDTH),
        image_size=patch * round((tokens - 1) ** 0.5),
        patch_size=patch,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
    )


def autoencoder_base_dim(shapes: Shapes) -> int:
    """`base_dim` of the video autoencoder."""
    return _size(shapes, "encoder.conv1.weight", 0, 96)
