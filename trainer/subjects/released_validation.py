"""Clips that show how far a training of a released model is: held-out videos, made anew.

A clip is a held-out video made anew from its first picture, its caption and its voice by the averaged model: the
latents, and the video where the autoencoder is in the model's folder; without text guidance, whose negative texts the
shards do not have. Knows nothing about training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.contract.variants import FPS, Variant
from engine.media.video import VideoWriter
from engine.pipeline import LATENTS_KEY
from engine.sampling.denoise import Conditions, denoise
from engine.sampling.phase_negative import NegativeText
from engine.sampling.tasks import FRAMES_PER_LATENT, to_video_frames
from engine.wan.animator import WINDOW_LATENT_FRAMES
from engine.wan.checkpoints import ReleasedTransformer
from engine.wan.encoders import VideoAutoencoder
from engine.wan.layout import AUTOENCODER_FILE, BASE
from trainer.data.shards import Shards
from trainer.data.tasks import IMAGE_TO_VIDEO, MAX_LATENT_FRAMES
from trainer.loop.lora import merged
from trainer.subjects.released import face_mask, heard, known_of, padded_text, read_transformer


class ReleasedClips:
    """A `trainer.loop.validation.MakeClips`: the first `count` clips of `shards`, made anew."""

    def __init__(self, variant: Variant, shards: Shards, count: int, device: torch.device) -> None:
        self._variant, self._shards, self._device = variant, shards, device
        self._count = min(count, len(shards))
        self._dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        settings = variant.default_settings
        self._settings = settings.model_copy(
            update={
                "guidance": settings.guidance.model_copy(update={"text": 1.0, "late_text": 1.0}),
                "png": settings.png.model_copy(update={"mode": "off"}),
            }
        )

    def __call__(self, state: Mapping[str, Tensor], folder: Path) -> list[dict[str, Any]]:
        """Write 0.safetensors, 0.mp4 and so on; each one's files, the video it is of, and `latent_error` to that one's
        own latents, mean squared."""
        kind = self._kind()
        transformer = read_transformer(self._variant.folder, kind)
        transformer.load_state_dict(dict(merged(state)))
        transformer.to(self._device, self._dtype).eval().requires_grad_(False)
        return [self._clip(transformer, number, folder) for number in range(self._count)]

    def _kind(self) -> ReleasedTransformer:
        assert self._variant.name != "nano"
        return self._variant.name

    def _clip(self, transformer: torch.nn.Module, number: int, folder: Path) -> dict[str, Any]:
        read = self._shards.clip(number)
        own = read["latents"]["latents"].float()[None, :, :MAX_LATENT_FRAMES]
        made = denoise(
            transformer,
            self._conditions(read, own),
            self._settings,
            window_latent_frames=WINDOW_LATENT_FRAMES,
            seed=number,
            watch=lambda done, clean: None,
        ).cpu()
        save_file({LATENTS_KEY: made.contiguous()}, folder / f"{number}.safetensors")
        said = {"file": f"{number}.safetensors", "of": self._shards.rows[number]["id"]}
        autoencoder = self._variant.folder / BASE / AUTOENCODER_FILE
        if autoencoder.is_file():
            _write_video(VideoAutoencoder.load(autoencoder), made, folder / f"{number}.mp4")
            said["video"] = f"{number}.mp4"
        return said | {"latent_error": float((made - own).square().mean())}

    def _conditions(self, read: dict[str, dict[str, Tensor]], own: Tensor) -> Conditions:
        kind = self._kind()
        known = self._placed(known_of(read, IMAGE_TO_VIDEO, own, torch.Generator()))
        text = self._placed(padded_text(read))
        reference = known[:, FRAMES_PER_LATENT:, :1]
        return Conditions(
            known=known,
            text=text,
            negative=NegativeText(text[0, :0], text[0, :0], text[0, :0], text.shape[1]),
            image=self._placed(read["image"]["image"].float()[None]),
            audio=self._placed(heard(read, to_video_frames(own.shape[2]), kind)),
            reference=reference,
            slot=torch.cat([torch.ones_like(known[:, :FRAMES_PER_LATENT, :1]), reference], dim=1),
            face_mask=self._placed(face_mask(read, kind)),
        )

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self._dtype)


def _write_video(autoencoder: VideoAutoencoder, latents: Tensor, path: Path) -> None:
    height, width = (8 * side for side in latents.shape[-2:])
    with VideoWriter(path, (width, height), FPS) as writer:
        for chunk in autoencoder.stream_decode(latents):
            for frame in chunk[0].permute(1, 2, 3, 0):
                pixels = ((frame.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
                writer.write(np.ascontiguousarray(pixels))
