"""Synthetic speech by voices that were never trained on: the mouth that nano makes against the mouth that is true."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.model.face_motion import FaceReference
from engine.model.nano import NanoModel
from engine.nano_animator import encode_conditions
from engine.sampling.denoise import denoise
from engine.settings import Settings
from engine.variants import FPS, NANO
from trainer.faces import mean_face, random_face
from trainer.speech.corpus import Track, make_track

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
    missing = [program for program in ("flite", "festival", "espeak-ng") if shutil.which(program) is None]
    if missing:
        raise UserError(f"Not installed: {', '.join(missing)}; they speak the held-out voices.")
    model = NanoModel.load(model_folder)
    tracks = list(held_out_tracks(splits, CLIPS))
    return np.array([aperture_r(model, NANO.default_settings, track, seed) for seed, track in enumerate(tracks)])


def held_out_tracks(splits: tuple[str, ...], count: int) -> Iterator[Track]:
    """`count` tracks of CLIP_S, the `splits` in turn; not those of the corpus, whose seed is another."""
    frames = round(CLIP_S * FPS)
    for number in range(count):
        track = make_track(_SEED, splits[number % len(splits)], number)
        samples = len(track.wave) // len(track.curves) * frames
        yield Track(track.wave[:samples], track.curves[:frames], track.voice, track.phones)


def aperture_r(model: NanoModel, settings: Settings, track: Track, seed: int) -> float:
    """Generate the motion of a random face that says `track`; r of its inner lips' distance and the true aperture."""
    reference = synthetic_reference(model, seed)
    true = track.curves[:, 0]
    latents = denoise(
        model.transformer,
        encode_conditions(model, reference, track.wave, len(true)),
        settings,
        window_latent_frames=model.window_latent_frames,
        seed=seed,
        watch=lambda done, clean: None,
    )
    landmarks = model.autoencoder.decode_motion(latents, reference).landmarks_px[: len(true)]
    aperture = (landmarks[:, _LOWER, 1] - landmarks[:, _UPPER, 1]).mean(1)
    return float(np.corrcoef(aperture, true)[0, 1])


def synthetic_reference(model: NanoModel, seed: int) -> FaceReference:
    """A random face with closed lips, as if it had been found in a picture 1000 pixels high."""
    face = mean_face().copy()
    face[:, :2] = random_face(np.random.default_rng([_SEED, seed]))
    return model.autoencoder.reference(np.zeros((2, 2, 3), np.uint8), face * 1000)
