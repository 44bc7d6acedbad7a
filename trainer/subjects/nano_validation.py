"""Clips that show how far a training of nano is: the bundled portrait speaks with held-out voices, to held-out prompts.

Each is drawn by nano's real decoder, small, with its sound; `proxy/lip_r` is Pearson's r of the inner lips' distance
and the true aperture of the synthetic speech. Knows nothing about the training but its weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from engine.contract.places import ASSETS
from engine.contract.variants import FPS, NANO
from engine.media.face import find_face
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter
from engine.nano.animator import encode_conditions
from engine.nano.face_warp import FaceWarp
from engine.nano.model import NanoModel
from engine.sampling.denoise import denoise
from trainer.data.speech.corpus import Corpus, Track
from trainer.loop.lora import merged
from trainer.metrics.held_out import lips_apart
from trainer.metrics.text_control import PROMPTS

PORTRAIT = ASSETS / "examples" / "02_navy-portrait.jpg"
CLIP_FRAMES = 4 * FPS
HEIGHT_PX = 256


class NanoClips:
    """A `trainer.loop.validation.MakeClips`: `count` clips by a nano, of a corpus's voices."""

    def __init__(self, description: Mapping[str, Any], corpus: Corpus, count: int) -> None:
        """`description` is of the model in training (`NanoModel`)."""
        self._description = dict(description)
        self._tracks = [_track(corpus, number, count) for number in range(count)]
        picture = read_picture(PORTRAIT)
        width_px = round(picture.shape[1] * HEIGHT_PX / picture.shape[0])
        self._picture = even_size(cv2.resize(picture, (width_px, HEIGHT_PX), interpolation=cv2.INTER_AREA))
        self._landmarks_px = find_face(self._picture)[0].landmarks_px

    def __call__(self, state: Mapping[str, Tensor], folder: Path) -> list[dict[str, Any]]:
        """Write 0.mp4 and so on; the name, the prompt, the voice and `proxy/lip_r` of each."""
        model = NanoModel(self._description)
        model.load_state_dict({name: tensor.cpu() for name, tensor in merged(state).items()})
        model.eval().requires_grad_(False)
        return [self._clip(model, number, folder) for number in range(len(self._tracks))]

    def _clip(self, model: NanoModel, number: int, folder: Path) -> dict[str, Any]:
        track, ideas = self._tracks[number], list(PROMPTS.values())
        prompt = ideas[number % len(ideas)][0]
        reference = model.autoencoder.reference(self._picture, self._landmarks_px)
        frames = len(track.curves)
        latents = denoise(
            model.transformer,
            encode_conditions(model, reference, track.wave, frames, prompt=prompt),
            NANO.default_settings,
            window_latent_frames=model.window_latent_frames,
            seed=number,
            watch=lambda done, clean: None,
        )
        motion = model.autoencoder.decode_motion(latents, reference)
        height, width = self._picture.shape[:2]
        warp = FaceWarp(self._picture, self._landmarks_px)
        with VideoWriter(folder / f"{number}.mp4", (width, height), FPS, track.wave) as writer:
            for frame in range(frames):
                drawn = motion.landmarks_px[frame], float(motion.teeth[frame]), float(motion.tongue[frame])
                writer.write(warp.render(*drawn))
        lip_r = _r(lips_apart(motion.landmarks_px[:frames]), track.curves[:, 0])
        return {"file": f"{number}.mp4", "prompt": prompt, "voice": track.voice, "proxy/lip_r": lip_r}


def _track(corpus: Corpus, number: int, count: int) -> Track:
    """The beginning of one of `count` tracks that lie evenly over the corpus."""
    entry = corpus.index[number * len(corpus.index) // count]
    first, frames = entry["first_frame"], min(CLIP_FRAMES, entry["frames"])
    curves = np.asarray(corpus.curves[first : first + frames], np.float32)
    return Track(corpus.wave(first, frames), curves, entry["voice"], ())


def _r(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's r; 0 where one of them does not vary."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0
