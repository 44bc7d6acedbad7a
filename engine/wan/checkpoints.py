"""Released weight files, read in their original key layout into our classes: all of a file, or a refusal.

Knows the names inside the five released files and nothing of what the models compute. Nothing is skipped in silence:
a tensor that is missing, left over or of another shape is a `UserError`, and a file of another kind is named as what
it looks like. Nothing pickled is unpickled but plain tensors.
"""

import pickle
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers, convert_wan_vae_to_diffusers
from diffusers.models.modeling_utils import ModelMixin
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.contract.errors import UserError
from engine.wan.sizes import transformer_sizes
from engine.wan.transformer import EchoMimicTransformer3DModel

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
ReleasedTransformer = Literal["preview", "flash"]
Model = TypeVar("Model", bound=nn.Module)


UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    KeyError,
    IndexError,
)
"""What libraries raise for weights files that are cut short, damaged, or would have to run code to be read."""


def convert_transformer(state: State) -> State:
    """Wan's names by diffusers' own converter, the audio branch's by ours."""
    renames = {
        "audio2token.": "audio_projector.",
        "audio_injection.": "audio_projector.",
        ".q_audio.": ".to_q_audio.",
        ".k_audio.": ".to_k_audio.",
        ".v_audio.": ".to_v_audio.",
    }
    return {_renamed(key, renames): tensor for key, tensor in convert_wan_transformer_to_diffusers(dict(state)).items()}


def convert_text_encoder(state: State) -> State:
    """The umT5 encoder as released with Wan → transformers' `UMT5EncoderModel`."""
    renames = {
        "token_embedding.": "shared.",
        "blocks.": "encoder.block.",
        ".norm1.": ".layer.0.layer_norm.",
        ".attn.": ".layer.0.SelfAttention.",
        ".pos_embedding.embedding.": ".layer.0.SelfAttention.relative_attention_bias.",
        ".norm2.": ".layer.1.layer_norm.",
        ".ffn.gate.0.": ".layer.1.DenseReluDense.wi_0.",
        ".ffn.fc1.": ".layer.1.DenseReluDense.wi_1.",
        ".ffn.fc2.": ".layer.1.DenseReluDense.wo.",
    }
    converted = {_renamed(key, renames): tensor for key, tensor in state.items()}
    if "norm.weight" in converted:
        converted["encoder.final_layer_norm.weight"] = converted.pop("norm.weight")
    return converted


def convert_image_encoder(state: State) -> State:
    """The image tower of Wan's CLIP file → transformers' `CLIPVisionModel`, which lacks the text tower and the head."""
    renames = {
        "visual.transformer.": "encoder.layers.",
        "visual.patch_embedding.": "embeddings.patch_embedding.",
        "visual.pre_norm.": "pre_layrnorm.",
        "visual.post_norm.": "post_layernorm.",
        ".norm1.": ".layer_norm1.",
        ".norm2.": ".layer_norm2.",
        ".attn.proj.": ".self_attn.out_proj.",
        ".mlp.0.": ".mlp.fc1.",
        ".mlp.2.": ".mlp.fc2.",
    }
    converted: State = {}
    for key, tensor in state.items():
        name = _renamed(key, renames)
        if ".attn.to_qkv." in name:
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                converted[name.replace(".attn.to_qkv.", f".self_attn.{part}_proj.")] = third
        elif name == "visual.cls_embedding":
            converted["embeddings.class_embedding"] = tensor.flatten()
        elif name == "visual.pos_embedding":
            converted["embeddings.position_embedding.weight"] = tensor.squeeze(0)
        elif name not in {"visual.head", "log_scale"} and not name.startswith("textual."):
            converted[name] = tensor
    return converted


def convert_autoencoder(state: State) -> State:
    """Wan's video autoencoder → diffusers' `AutoencoderKLWan`, by diffusers' own converter."""
    return convert_wan_vae_to_diffusers(dict(state))


def _renamed(key: str, renames: dict[str, str]) -> str:
    for old, new in renames.items():
        key = key.replace(old, new)
    return key


def _no_leftovers(_expected: Shapes) -> Shapes:
    return {}


def _audio_queries(expected: Shapes) -> Shapes:
    """Flash stores a query projection for audio in every block; its own code asks with the shared query (Eq. 1)."""
    keys = {name: shape for name, shape in expected.items() if ".to_k_audio." in name}
    return {name.replace(".to_k_audio.", ".to_q_audio."): shape for name, shape in keys.items()}


@dataclass(frozen=True)
class Layout:
    """One kind of released file: what to call it, a key prefix that gives it away, and its translation into ours."""

    title: str
    marker: str
    convert: Callable[[State], State]
    leftovers: Callable[[Shapes], Shapes] = _no_leftovers
    """Tensors, by converted name, that must be in the file although no code uses them."""


PREVIEW = Layout("the EchoMimicV3 preview transformer", "audio2token.", convert_transformer)
FLASH = Layout("the EchoMimicV3 flash transformer", "audio_injection.", convert_transformer, _audio_queries)
TEXT_ENCODER = Layout("the umT5 text encoder", "token_embedding.", convert_text_encoder)
IMAGE_ENCODER = Layout("the CLIP image encoder", "visual.", convert_image_encoder)
AUTOENCODER = Layout("the Wan video autoencoder", "encoder.downsamples.", convert_autoencoder)
TRANSFORMERS: dict[ReleasedTransformer, Layout] = {"preview": PREVIEW, "flash": FLASH}

KINDS = (
    *((layout.marker, layout.title) for layout in (PREVIEW, FLASH, TEXT_ENCODER, IMAGE_ENCODER, AUTOENCODER)),
    ("audio_projector.", "a transformer saved by this program, to be loaded as a folder"),
    ("img_emb.", "a plain Wan image-to-video transformer, without audio"),
    ("text_embedding.", "a plain Wan text-to-video transformer, without audio"),
    ("condition_embedder.", "a plain Wan transformer in diffusers' layout, without audio"),
    ("wav2vec2.", "a wav2vec2 speech encoder"),
)


def looks_like(keys: Iterable[str]) -> str | None:
    """What kind of file holds tensors of these names, in words; None if it is none that we know."""
    names = list(keys)
    return next((title for marker, title in KINDS if any(name.startswith(marker) for name in names)), None)


def read_tensors(path: Path) -> State:
    """Every tensor of a .safetensors file or of a torch file (.pth, .pt, .bin) that holds nothing but tensors.

    Raises UserError if there is no such file, or it is cut short, or it would have to run code to be read.
    """
    if not path.is_file():
        raise UserError(f"There is no model file {path}; download it or correct the model folder.", "model")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UNREADABLE as error:
        raise UserError(
            f"The model file {path} cannot be read as plain tensors: it is cut short, damaged or not a weights file; "
            "download it again.",
            "model",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UserError(f"The model file {path} holds more than named tensors; use the released file.", "model")
    return state


def match(model: nn.Module, layout: Layout, state: State, source: str) -> State:
    """The original `state` under `model`'s names: exactly its tensors in exactly their shapes.

    `source` names the file in the UserError that says what does not fit. Works on the meta device too.
    """
    _check_kind(layout, state, source)
    tied = getattr(model, "_tied_weights_keys", None) or ()
    expected: Shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}
    leftovers = layout.leftovers(expected)
    converted = layout.convert(state)
    wanted = expected | leftovers
    faults = [
        *(f"{name} is missing" for name in wanted if name not in converted),
        *(f"{name} is not expected" for name in converted if name not in wanted),
        *(
            f"{name} is {list(tensor.shape)} instead of {list(wanted[name])}"
            for name, tensor in converted.items()
            if name in wanted and tuple(tensor.shape) != wanted[name]
        ),
    ]
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise UserError(f"{source} is not {layout.title} as released: {faults[0]}{more}.", "model")
    return {name: converted[name] for name in expected}


def _check_kind(layout: Layout, state: State, source: str) -> None:
    kind = looks_like(state)
    if kind != layout.title:
        raise UserError(f"{source} is not {layout.title}: it looks like {kind or 'nothing we know'}.", "model")


def load(build: Callable[[Shapes], Model], layout: Layout, path: Path, dtype: torch.dtype = torch.float32) -> Model:
    """Build a model without weights, give it those of the file at `path`, and put it into evaluation mode.

    `build` is given the shapes in the file, by their original names (`engine.wan.sizes`).

    The model is never held twice; what diffusers keeps in float32 (norms, time embedding) stays so whatever `dtype` is.
    Raises UserError for a file that cannot be read or does not fit.
    """
    state = read_tensors(path)
    _check_kind(layout, state, path.name)
    with init_empty_weights():
        model = build({name: tuple(tensor.shape) for name, tensor in state.items()})
    in_float32 = set(model._keep_in_fp32_modules or ()) if isinstance(model, ModelMixin) else set()
    tensors = match(model, layout, state, path.name)
    for name, tensor in tensors.items():
        tensors[name] = tensor.to(dtype if in_float32.isdisjoint(name.split(".")) else torch.float32)
    # `match` has proved that nothing lacks; only tied weights are not in the file a second time.
    model.load_state_dict(tensors, strict=False, assign=True)
    if isinstance(model, PreTrainedModel):
        model.tie_weights()
    assert not any(parameter.is_meta for parameter in model.parameters())
    return model.eval()


def load_transformer(
    path: Path,
    variant: ReleasedTransformer,
    dtype: torch.dtype = torch.float32,
    *,
    heads: int | None = None,
    audio_dim: int = 768,
) -> EchoMimicTransformer3DModel:
    """The released transformer of `variant` from its `diffusion_pytorch_model.safetensors`, of the size it has there.

    `heads` is its number of attention heads if a config file tells, `audio_dim` the width of the speech encoder.
    """

    def build(shapes: Shapes) -> EchoMimicTransformer3DModel:
        return EchoMimicTransformer3DModel(
            audio_projection=variant, **transformer_sizes(shapes, variant, heads, audio_dim)
        )

    return load(build, TRANSFORMERS[variant], path, dtype)
