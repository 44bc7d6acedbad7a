"""A nano model of the real classes, a few thousand random weights, that can be saved and run in seconds."""

from pathlib import Path

import torch
from torch import nn

from engine.nano.model import NanoModel

DESCRIPTION = {
    "transformer": {
        "patch_size": (1, 2, 4),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "freq_dim": 16,
        "ffn_dim": 32,
        "num_layers": 1,
        "audio_intermediate_dim": 8,
        "audio_context_tokens": 2,
    },
    "channels": {"text": 8, "image": 8, "audio": 8},
    "vocabulary": ["calm", "happy", "nodding", "person", "still", "talks"],
    "window_latent_frames": 6,
}


def tiny_nano(seed: int = 0) -> NanoModel:
    """Random weights that move the face a little: deviations as in a trained model, the ridge map a crude copy."""
    torch.manual_seed(seed)
    model = NanoModel(DESCRIPTION)
    for parameter in model.transformer.parameters():
        nn.init.normal_(parameter, std=0.1)
    face = model.autoencoder
    face.mean_face.normal_(std=0.3)
    face.position_std.fill_(0.05)
    face.motion_std.fill_(0.003)
    face.slot_std.fill_(0.01)
    face.ridge.normal_(std=0.01)
    return model.eval().requires_grad_(False)


def save_tiny_nano(folder: Path) -> Path:
    """Save one in `folder`; returns the folder."""
    tiny_nano().save(folder)
    return folder
