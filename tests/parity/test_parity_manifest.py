"""The key lists of the real 1.3B-size files map completely onto our classes: every name and shape, without weights."""

import json

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan
from transformers import CLIPVisionModel, UMT5EncoderModel

from engine.wan import checkpoints
from engine.wan.sizes import autoencoder_base_dim, clip_config, transformer_sizes, umt5_config
from engine.wan.transformer import EchoMimicTransformer3DModel


def transformer(variant: str):
    return lambda shapes: EchoMimicTransformer3DModel(
        audio_projection=variant, **transformer_sizes(shapes, variant, None, 768)
    )


FILES = {
    "transformer_preview": (checkpoints.PREVIEW, transformer("preview"), 1076),
    "transformer_flash": (checkpoints.FLASH, transformer("flash"), 1203),
    "text_encoder_umt5_xxl": (checkpoints.TEXT_ENCODER, lambda shapes: UMT5EncoderModel(umt5_config(shapes)), 242),
    "vae": (checkpoints.AUTOENCODER, lambda shapes: AutoencoderKLWan(base_dim=autoencoder_base_dim(shapes)), 194),
    "clip_visual": (checkpoints.IMAGE_ENCODER, lambda shapes: CLIPVisionModel(clip_config(shapes)), 392),
}


@pytest.mark.parametrize("name", FILES)
def test_every_released_key_has_its_place(folder, name):
    layout, build, keys = FILES[name]
    shapes = json.loads((folder / "release_manifest.json").read_text())[name]
    assert len(shapes) == keys
    with init_empty_weights():
        model = build({key: tuple(shape) for key, shape in shapes.items()})
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    matched = checkpoints.match(model, layout, state, name)
    tied_to_another = {"encoder.embed_tokens.weight"}
    assert matched.keys() == model.state_dict().keys() - tied_to_another


def test_sizes_read_from_the_files_are_those_of_the_release(folder):
    manifest = json.loads((folder / "release_manifest.json").read_text())
    shapes = {name: {key: tuple(shape) for key, shape in keys.items()} for name, keys in manifest.items()}
    preview = transformer_sizes(shapes["transformer_preview"], "preview", None, 768)
    assert preview == transformer_sizes({}, "preview", None, 768)
    assert (preview["num_attention_heads"], preview["attention_head_dim"], preview["num_layers"]) == (12, 128, 30)
    assert transformer_sizes(shapes["transformer_flash"], "flash", None, 768) == transformer_sizes(
        {}, "flash", None, 768
    )
    assert umt5_config(shapes["text_encoder_umt5_xxl"]).to_dict() == umt5_config({}).to_dict()
    assert clip_config(shapes["clip_visual"]).to_dict() == clip_config({}).to_dict()
    assert (clip_config({}).num_attention_heads, clip_config({}).image_size) == (16, 224)
    assert autoencoder_base_dim(shapes["vae"]) == 96
