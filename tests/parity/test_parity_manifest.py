"""The key lists of the real 1.3B-size files map completely onto our classes: every name and shape, without weights."""

import json

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan
from transformers import CLIPVisionModel, UMT5EncoderModel

from engine.model import checkpoints
from engine.model.encoders import CLIP_VIT_H_14, UMT5_XXL
from engine.model.transformer import EchoMimicTransformer3DModel

FILES = {
    "transformer_preview": (checkpoints.PREVIEW, EchoMimicTransformer3DModel, 1076),
    "transformer_flash": (checkpoints.FLASH, lambda: EchoMimicTransformer3DModel(audio_projection="flash"), 1203),
    "text_encoder_umt5_xxl": (checkpoints.TEXT_ENCODER, lambda: UMT5EncoderModel(UMT5_XXL), 242),
    "vae": (checkpoints.AUTOENCODER, AutoencoderKLWan, 194),
    "clip_visual": (checkpoints.IMAGE_ENCODER, lambda: CLIPVisionModel(CLIP_VIT_H_14), 392),
}


@pytest.mark.parametrize("name", FILES)
def test_every_released_key_has_its_place(folder, name):
    layout, build, keys = FILES[name]
    shapes = json.loads((folder / "release_manifest.json").read_text())[name]
    assert len(shapes) == keys
    with init_empty_weights():
        model = build()
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    matched = checkpoints.match(model, layout, state, name)
    tied_to_another = {"encoder.embed_tokens.weight"}
    assert matched.keys() == model.state_dict().keys() - tied_to_another
