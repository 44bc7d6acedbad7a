"""Synthetic speech by voices that were never trained on: the mouth that nano makes against the mouth that is true."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.contract.errors import UserError
from engine.contract.settings import Settings
from engine.contract.variants import FPS, NANO
from engine.nano.animator import encode_conditions
from engine.nano.face_motion import FaceReference
from engine.nano.model import NanoModel
from engine.sampling.denoise import denoise
from trainer.data.faces import mean_face, random_face
from trainer.data.speech.corpus import Track, make_track

CLIPS = 100
HELD_OUT_SPLITS = ("heldout_rms", "heldout_ked")
CLIP_S = 8.0
_SEED = 20507
_UPPER, _LOWER = [82, 13, 312], [87, 14, 317]


def held_out_aperture_r(model_folder: Path, splits: tuple[str, ...] = HELD_OUT_SPLITS) -> NDArray[np.float64]:
    """Pearson r of generated and true aperture over CLIPS clips of CLIP_S, the `splits` in turn, [CLIPS].

    Every clip has a random face and a seed of its own; all settings are the model's defaults. Raises UserError where
    the programs that speak are not installed.
    """
    model = NanoModel.load(model_folder)
    tracks = list(held_out_tracks(splits, CLIPS))
    return np.array([aperture_r(model, NANO.default_settings, track, seed) for seed, track in enumerate(tracks)])


def held_out_tracks(splits: tuple[str, ...], count: int, clip_s: float = CLIP_S, first: int = 0) -> Iterator[Track]:
    """`count` tracks of `clip_s` from number `first`, the `splits` in turn; not the corpus's, whose seed is another.

    Raises UserError where the programs that speak are not installed.
    """
    missing = [program for program in ("flite", "festival", "espeak-ng") if shutil.which(program) is None]
    if missing:
        raise UserError(f"Not installed: {', '.join(missing)}; they speak the held-out voices.")
    frames = round(clip_s * FPS)
    for number in range(first, first + count):
        track = make_track(_SEED, splits[number % len(splits)], number)
        samples = len(track.wave) // len(track.curves) * frames
        yield Track(track.wave[:samples], track.curves[:frames], track.voice, track.phones)


def aperture_r(model: NanoModel, settings: Settings, track: Track, seed: int) -> float:
    """Generate the motion of a random face that says `track`; r of its inner lips' distance and the true aperture."""
    landmarks_px = speak(model, settings, track, synthetic_reference(model, seed), seed=seed)
    return float(np.corrcoef(lips_apart(landmarks_px), track.curves[:, 0])[0, 1])


def speak(
    model: NanoModel, settings: Settings, track: Track, reference: FaceReference, *, seed: int, prompt: str = ""
) -> NDArray[np.float32]:
    """The landmarks of `reference` while it says `track`, in pixels [F, 468, 3], one per frame of the track."""
    latents = denoise(
        model.transformer,
        encode_conditions(model, reference, track.wave, len(track.curves), prompt=prompt),
        settings,
        window_latent_frames=model.window_latent_frames,
        seed=seed,
        watch=lambda done, clean: None,
    )
    return model.autoencoder.decode_motion(latents, reference).landmarks_px[: len(track.curves)]


def lips_apart(landmarks_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the inner lips are apart in the picture, mean of their three middle pairs, in pixels: [F]."""
    return np.asarray((landmarks_px[:, _LOWER, 1] - landmarks_px[:, _UPPER, 1]).mean(1), np.float64)


def synthetic_reference(model: NanoModel, seed: int) -> FaceReference:
    """A random face with closed lips, as if it had been found in a picture 1000 pixels high."""
    face = mean_face().copy()
    face[:, :2] = random_face(np.random.default_rng([_SEED, seed]))
    return model.autoencoder.reference(np.zeros((2, 2, 3), np.uint8), face * 1000)
