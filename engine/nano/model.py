"""Nano: the small bundled model, whole. One folder holds it:

nano.json                                 layout version, sizes, vocabulary, how it was trained
transformer/                              diffusers' layout: config.json, diffusion_pytorch_model.safetensors
audio_encoder.safetensors, text_encoder.safetensors, image_encoder.safetensors, autoencoder.safetensors
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.contract.errors import UserError
from engine.contract.negatives import negative_words
from engine.contract.variants import FPS, NANO_DESCRIPTION
from engine.media.audio import SAMPLE_RATE_HZ
from engine.nano.encoders import NanoAudioEncoder, NanoImageEncoder, NanoTextEncoder
from engine.nano.face_motion import CHANNELS, FaceMotionAutoencoder, FaceReference
from engine.nano.words import Vocabulary
from engine.sampling.phase_negative import NegativeText
from engine.wan.transformer import EchoMimicTransformer3DModel

WEIGHTS = Path("transformer", "diffusion_pytorch_model.safetensors")
MASK_CHANNELS = 4
_ENCODERS = ("audio_encoder", "text_encoder", "image_encoder", "autoencoder")


class NanoModel(nn.Module):
    """The transformer with its encoders and its autoencoder.

    `window_latent_frames` is the longest content, in latent frames behind the reference, that it was trained on.
    `checkpoint_sha256` is of the transformer's weights file; empty until saved or loaded.
    """

    samples_per_frame = SAMPLE_RATE_HZ // FPS
    """Of the voice, in a video frame."""

    def __init__(self, description: dict[str, Any]) -> None:
        """`description`: "transformer" (sizes), "channels" of the encoders, "vocabulary", "window_latent_frames"."""
        super().__init__()
        channels = description["channels"]
        self.description = description
        self.window_latent_frames: int = description["window_latent_frames"]
        self.checkpoint_sha256 = ""
        self.transformer = EchoMimicTransformer3DModel(
            in_channels=2 * CHANNELS + MASK_CHANNELS,
            out_channels=CHANNELS,
            text_dim=channels["text"],
            image_dim=channels["image"],
            audio_projection="flash",
            audio_dim=channels["audio"],
            audio_layers=1,
            **description["transformer"],
        )
        self.audio_encoder = NanoAudioEncoder(channels["audio"])
        self.text_encoder = NanoTextEncoder(Vocabulary(tuple(description["vocabulary"])), channels["text"])
        self.image_encoder = NanoImageEncoder(channels["image"])
        self.autoencoder = FaceMotionAutoencoder()

    @classmethod
    def load(cls, folder: Path) -> "NanoModel":
        """Read the model in `folder`. Raises UserError where the folder does not hold one, whole."""
        try:
            model = cls(json.loads((folder / NANO_DESCRIPTION).read_text()))
            model.transformer.load_state_dict(load_file(folder / WEIGHTS))
            for name in _ENCODERS:
                model.get_submodule(name).load_state_dict(load_file(folder / f"{name}.safetensors"))
        except FileNotFoundError as error:
            raise UserError(
                f"The model in {folder} is not whole: {error.filename or error} is missing.", "model"
            ) from error
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
            raise UserError(f"The model in {folder} cannot be read ({reason}): restore its files.", "model") from error
        model.checkpoint_sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        return model.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write the model into `folder`, made if it does not exist."""
        self.transformer.save_pretrained(folder / "transformer")
        for name in _ENCODERS:
            save_file(self.get_submodule(name).state_dict(), folder / f"{name}.safetensors")
        (folder / NANO_DESCRIPTION).write_text(json.dumps(self.description, indent=1) + "\n")
        self.checkpoint_sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()

    def encode_text(self, prompts: list[str]) -> Tensor:
        """[B, words, channels], zeros behind the known words: the empty prompt is all zeros."""
        return self.text_encoder(self.text_encoder.tokens(prompts))

    def negative_text(self, prompt: str) -> NegativeText:
        """The user's negative prompt and the groups of negative guidance, features of the known words."""
        groups = negative_words("nano")
        own, motion, detail = (self._word_features(text) for text in (prompt, groups["motion"], groups["detail"]))
        return NegativeText(own, motion, detail, self.text_encoder.vocabulary.most)

    def _word_features(self, prompt: str) -> Tensor:
        tokens = self.text_encoder.tokens([prompt])
        return self.text_encoder(tokens)[0, tokens[0] != 0]

    def encode_image(self, reference: FaceReference) -> Tensor:
        """[1, 16, channels]."""
        return self.image_encoder(self.autoencoder.encode_reference(reference))

    def encode_audio(self, wave: np.ndarray, num_frames: int) -> Tensor:
        """`wave` float32 [n] at 16 kHz → [1, num_frames, 5, 1, channels], one 5-frame window per video frame."""
        return self.audio_encoder.encode(wave, num_frames)
