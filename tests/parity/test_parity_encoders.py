"""transformers' and diffusers' own encoders against the released code's outputs, from the original layouts."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from engine.wan import checkpoints
from engine.wan.encoders import ImageEncoder, TextEncoder, VideoAutoencoder

LIMIT = 1e-3


@pytest.fixture
def text_encoder(folder):
    config = UMT5Config(
        vocab_size=120, d_model=32, d_kv=12, d_ff=64, num_layers=3, num_heads=4, feed_forward_proj="gated-gelu"
    )
    weights = folder / "t5_weights.safetensors"
    model = checkpoints.load(lambda _: UMT5EncoderModel(config), checkpoints.TEXT_ENCODER, weights)
    return TextEncoder(model, tokenizer=None)


@pytest.fixture
def image_encoder(folder):
    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
        hidden_act="gelu",
    )
    weights = folder / "clip_weights.safetensors"
    return ImageEncoder(checkpoints.load(lambda _: CLIPVisionModel(config), checkpoints.IMAGE_ENCODER, weights))


@pytest.fixture
def autoencoder(folder):
    return VideoAutoencoder.load(folder / "vae_weights.safetensors")


def test_text_encoder_reproduces_the_release(t5_case, text_encoder, agrees):
    case = load_file(t5_case)
    mask = case["attention_mask"]
    states = text_encoder.states(case["input_ids"], mask)
    # The release computes states for padding too and drops them later; ours are zero there.
    agrees(states, case["last_hidden_state"] * mask.unsqueeze(2), LIMIT)


def test_image_encoder_reproduces_the_release(clip_case, image_encoder, agrees):
    case = load_file(clip_case)
    agrees(image_encoder.states(case["pixel_values"]), case["penultimate_hidden_state"], LIMIT)


def test_autoencoder_encodes_as_the_release(vae_case, autoencoder, agrees):
    case = load_file(vae_case)
    agrees(autoencoder.encode(case["video"]), case["latents"], LIMIT)


def test_autoencoder_decodes_as_the_release(vae_case, autoencoder, agrees):
    case = load_file(vae_case)
    agrees(autoencoder.decode(case["latents"]), case["decoded"], LIMIT)


def test_streams_are_bit_for_bit_the_whole_videos(vae_case, autoencoder):
    case = load_file(vae_case)
    model = autoencoder.model
    mean, std = autoencoder._statistics()
    whole = model.decode(case["latents"] * std + mean, return_dict=False)[0].clamp(-1, 1)
    assert torch.equal(torch.cat(list(autoencoder.stream_decode(case["latents"])), dim=2), whole.detach())
    latents = (model.encode(case["video"]).latent_dist.mode() - mean) / std
    assert torch.equal(autoencoder.encode(case["video"]), latents.detach())
