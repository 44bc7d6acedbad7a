"""A defect that a rule can name: a mouth that opens too wide, and the clips of nano that have it.

Its opening over the true mouth's is above what PERCENTILE of the starting model's own clips stay below, measured on
calibration clips before anything is trained. Clips to calibrate by, to learn from and to be judged by share neither
sentences nor faces. Knows nothing about how a model is trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.contract.variants import NANO
from engine.nano.animator import encode_conditions
from engine.nano.face_motion import lip_cells, slot_cells
from engine.nano.model import NanoModel
from engine.sampling.denoise import Conditions, denoise
from trainer.data.speech.corpus import Track
from trainer.metrics.held_out import HELD_OUT_SPLITS, held_out_tracks, lips_apart, synthetic_reference
from trainer.metrics.motion import opening
from trainer.subjects.negatives import Negative, negatives_of

CLIP_S = 4.0
PERCENTILE = 60
CALIBRATION = 60
PROMPTS = ("", "calm", "natural", "still")
"""What clips are given in turn: words that ask nothing of the mouth."""
_CANDIDATE_SPLITS = ("heldout_text",)
_CALIBRATION_TRACKS = 1000
"""Calibration is by the held-out voices, whose openings differ from other voices', on other sentences."""
_CALIBRATION_SEED, _CANDIDATE_SEED = 700_000, 800_000
_SEED_STRIDE = 1000


@dataclass(frozen=True)
class Made:
    """A clip that a model made: what it was given, its final latents, its prompt, and what is measured of it."""

    clip: Conditions
    latents: Tensor
    prompt: str
    opening: float
    lip_r: float


def opening_limit(model: NanoModel) -> float:
    """The opening that PERCENTILE of `model`'s calibration clips stay below, in true mouths."""
    tracks = held_out_tracks(HELD_OUT_SPLITS, CALIBRATION, CLIP_S, first=_CALIBRATION_TRACKS)
    return float(np.percentile([made.opening for made in _made(model, tracks, _CALIBRATION_SEED)], PERCENTILE))


def held_out_clips(model: NanoModel, count: int) -> Iterator[Made]:
    """`count` clips of `model` to judge it by: held-out voices in turn, a face and noise of its own for each."""
    return _made(model, held_out_tracks(HELD_OUT_SPLITS, count, CLIP_S), 0)


def wide_negatives(model: NanoModel, limit: float, count: int, draw: int) -> tuple[list[Negative], int]:
    """The windows of those of `count` clips of `model` that open wider than `limit`, lips and jaw marked, and how many
    clips did. Each `draw` has faces and noise of its own."""
    length, found, judged = model.window_latent_frames, list[Negative](), 0
    mouth = lip_cells() * (1 - slot_cells())
    tracks = held_out_tracks(_CANDIDATE_SPLITS, count, CLIP_S)
    for made in _made(model, tracks, _CANDIDATE_SEED + _SEED_STRIDE * draw):
        if made.opening > limit:
            judged += 1
            bad = mouth.expand(made.latents.shape[2], -1, -1)
            found += negatives_of(
                made.clip, made.latents, bad, made.prompt, NANO.default_settings, window_latent_frames=length
            )
    return found, judged


def _made(model: NanoModel, tracks: Iterator[Track], first_seed: int) -> Iterator[Made]:
    for number, track in enumerate(tracks):
        yield _make(model, track, PROMPTS[number % len(PROMPTS)], first_seed + number)


def _make(model: NanoModel, track: Track, prompt: str, seed: int) -> Made:
    reference = synthetic_reference(model, seed)
    clip = encode_conditions(model, reference, track.wave, len(track.curves), prompt=prompt)
    latents = denoise(
        model.transformer,
        clip,
        NANO.default_settings,
        window_latent_frames=model.window_latent_frames,
        seed=seed,
        watch=lambda done, clean: None,
    )
    landmarks_px: NDArray[np.float32] = model.autoencoder.decode_motion(latents, reference).landmarks_px
    landmarks_px = landmarks_px[: len(track.curves)]
    apart, true = lips_apart(landmarks_px) / reference.scale_px, track.curves[:, 0]
    return Made(clip, latents, prompt, opening(apart, true), float(np.corrcoef(apart, true)[0, 1]))
