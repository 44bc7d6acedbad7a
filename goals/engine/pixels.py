"""The released models' path on tiny weights: how many latents are encoded, by hooks on the autoencoder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from engine.contract.request import GenerationRequest, build_request
from engine.contract.variants import FPS
from engine.media.audio import SAMPLE_RATE_HZ
from engine.media.inputs import Inputs, read_inputs
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter
from engine.wan.animator import PixelAnimator
from goals.engine.jobs import PARITY, portrait_of, voice
from tests.released_layout import write_released_model

SMALL = {"sampling.size_px": 128}
PICTURE_FRAMES = (101, 1501)
FILM_FRAMES = 33


def encoded_latents(examples: Path, folder: Path) -> tuple[dict[int, int], dict[int, int]]:
    """Latents of a clip → how many of them were encoded: of pictures, and of a film for lip-sync."""
    model = write_released_model(folder / "preview", "preview", PARITY)
    animator = PixelAnimator(model, "preview", torch.float32, torch.device("cpu"))
    portrait = portrait_of(examples, (512, 512), folder)
    soundfile.write(folder / "voice.wav", voice(examples, 1.0), SAMPLE_RATE_HZ)
    values = {"audio": folder / "voice.wav", "model": str(model), "seed": 0, "out": folder / "o.mp4"}

    request = build_request(values | {"image": portrait}, SMALL)
    inputs = read_inputs(request)
    pictures = {}
    for frames in PICTURE_FRAMES:
        longer = replace(inputs, num_frames=frames, wave=voice(examples, frames / FPS))
        latents, encoded = _counted(animator, longer, request)
        pictures[latents] = encoded

    film = folder / "film.mp4"
    still = even_size(read_picture(portrait))
    with VideoWriter(film, (still.shape[1], still.shape[0]), FPS, marked=False) as writer:
        for index in range(FILM_FRAMES):
            writer.write(np.roll(still, index // 6, axis=1))
    request = build_request(values | {"video": film, "task": "lip-sync"}, SMALL)
    latents, encoded = _counted(animator, read_inputs(request), request)
    return pictures, {latents: encoded}


def _counted(animator: PixelAnimator, inputs: Inputs, request: GenerationRequest) -> tuple[int, int]:
    seen: list[int] = []
    hook = animator.autoencoder.model.encoder.register_forward_hook(lambda *_: seen.append(1))
    known = animator.encode(inputs, request).known
    hook.remove()
    return known.shape[2], len(seen)
