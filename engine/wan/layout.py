"""Where the parts of a released model lie in its folder; the transformer's place is in `engine.contract.variants`."""

from pathlib import Path

BASE = "Wan2.1-Fun-V1.1-1.3B-InP"
"""The folder of the base model, whose encoders are used; its own transformer is not."""
AUTOENCODER_FILE = "Wan2.1_VAE.pth"
TEXT_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
IMAGE_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
TOKENIZER = Path("google", "umt5-xxl")
