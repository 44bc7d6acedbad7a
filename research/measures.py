"""What is measured of a model in an arm: numbers clip by clip, on held-out voices and prompts, the same for every arm.

Every clip has a face and noise of its own, drawn from (seed, clip), so that arms are compared pair by pair.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from engine.contract.settings import Settings
from engine.nano.face_motion import FaceReference
from engine.nano.model import NanoModel
from engine.sampling.long_video import Window, plan_windows
from engine.sampling.tasks import FRAMES_PER_LATENT, next_valid_length, to_latent_frames
from trainer.data.speech.corpus import Track
from trainer.metrics.bilabials import count_closures
from trainer.metrics.held_out import HELD_OUT_SPLITS, held_out_tracks, lips_apart, speak, synthetic_reference
from trainer.metrics.motion import head_jerk, opening
from trainer.metrics.text_control import PROMPTS, RULES, HeadMotion

SPEECH_S, PROMPTED_S = 6.0, 5.0
_SEED_STRIDE = 1000
_QUIET_APERTURE = 0.02
_QUIET_MARGIN_FRAMES = 4
"""A pause counts from so long after the last sound and until so long before the next: lips need time."""
_LEAST_FRAMES = 8


@dataclass(frozen=True)
class Metric:
    """What a number means, its unit, and which way is better."""

    title: str
    unit: str
    higher_is_better: bool


METRICS: dict[str, Metric] = {
    "lip_r": Metric("lips against the true mouth, Pearson r", "", True),
    "bilabials": Metric("closed on p, b, m", "share", True),
    "silence": Metric("lips' opening in pauses over that in speech", "share", False),
    "text_control": Metric("prompts whose motion is recognised", "share", True),
    "head_jerk": Metric("jerk of the head's pose, root mean square", "rad/s³", False),
    "seam_jump": Metric("acceleration where windows overlap over elsewhere", "ratio", False),
    "seam_lip_r": Metric("lips against the true mouth where windows overlap, r", "", True),
    "opening": Metric("95th percentile of the lips' distance over the true mouth's (too wide above 1)", "ratio", False),
}

Values = dict[str, list[float | None]]
"""By metric, one value a clip; None where a clip says nothing about it."""


def measure(model: NanoModel, settings: Settings, seed: int, clips: int) -> Values:
    """`clips` clips of held-out speech without a prompt, and as many with one, by faces and noise of `seed`.

    Raises UserError where the programs that speak are not installed.
    """
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    for number, track in enumerate(_tracks(clips, SPEECH_S)):
        own = _SEED_STRIDE * seed + number
        reference = synthetic_reference(model, own)
        landmarks_px = speak(model, settings, track, reference, seed=own)
        for name, value in _of_speech(model, settings, track, reference, landmarks_px).items():
            values[name].append(value)
    for number, track in enumerate(_tracks(clips, PROMPTED_S)):
        own = _SEED_STRIDE * seed + number
        idea, prompt = _prompt(number)
        reference = synthetic_reference(model, own)
        landmarks_px = speak(model, settings, track, reference, seed=own, prompt=prompt)
        values["text_control"].append(float(RULES[idea](HeadMotion.of(model.autoencoder, landmarks_px, reference))))
    return {name: [value if np.isfinite(value) else None for value in column] for name, column in values.items()}


@cache
def _tracks(count: int, clip_s: float) -> tuple[Track, ...]:
    return tuple(held_out_tracks(HELD_OUT_SPLITS, count, clip_s))


def _prompt(number: int) -> tuple[str, str]:
    """The ideas in turn, each in other words the next time round."""
    ideas = list(PROMPTS)
    idea = ideas[number % len(ideas)]
    return idea, PROMPTS[idea][number // len(ideas) % len(PROMPTS[idea])]


def _of_speech(
    model: NanoModel, settings: Settings, track: Track, reference: FaceReference, landmarks_px: NDArray[np.float32]
) -> dict[str, float]:
    apart = lips_apart(landmarks_px) / reference.scale_px
    true = track.curves[:, 0]
    closures = count_closures(apart, track.phones)
    pose = HeadMotion.of(model.autoencoder, landmarks_px, reference).pose
    seams = overlapped(len(true), settings, model.window_latent_frames)
    return {
        "lip_r": _correlation(apart, true),
        "bilabials": closures.share,
        "silence": silence(apart, true),
        "head_jerk": head_jerk(pose),
        "seam_jump": seam_jump(landmarks_px / reference.scale_px, seams),
        "seam_lip_r": _correlation(apart[seams], true[seams]),
        "opening": opening(apart, true),
    }


def _correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    if len(one) < _LEAST_FRAMES or one.std() < 1e-9 or other.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def silence(apart: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    """(mean distance of the lips in pauses − 5th percentile) / (95th − 5th), both of `apart` [F]; NaN without pauses.

    A pause is where the true mouth [F] is closed for long enough. 0 is at rest, 1 as wide as in speech.
    """
    closed = (true < _QUIET_APERTURE).astype(np.uint8)
    quiet = minimum_filter1d(closed, 2 * _QUIET_MARGIN_FRAMES + 1, mode="constant", cval=1).astype(bool)
    floor, wide = np.percentile(apart, [5, 95])
    if quiet.sum() < _LEAST_FRAMES or wide - floor < 1e-9:
        return float("nan")
    return float((apart[quiet].mean() - floor) / (wide - floor))


def overlapped(frames: int, settings: Settings, window_latent_frames: int) -> NDArray[np.bool_]:
    """The video frames that two windows of a clip of `frames` share, [F]."""
    video = settings.long_video
    length = video.window_latent_frames or window_latent_frames
    latents = to_latent_frames(next_valid_length(frames))
    windows: list[Window] = plan_windows(1, latents, length, min(video.overlap_latent_frames, length - 1))
    shared = np.zeros(frames, bool)
    for before, after in pairwise(windows):
        shared[FRAMES_PER_LATENT * (after.start - 1) + 1 : FRAMES_PER_LATENT * (before.stop - 1) + 1] = True
    return shared


def seam_jump(places: NDArray[np.floating], seams: NDArray[np.bool_]) -> float:
    """Mean acceleration of `places` [F, N, 2 or 3] in the frames `seams` [F] over that elsewhere; NaN without seams."""
    acceleration = np.linalg.norm(np.diff(places[..., :2], 2, axis=0), axis=2).mean(1)
    inner = seams[1:-1]
    if not inner.any() or inner.all():
        return float("nan")
    return float(acceleration[inner].mean() / max(acceleration[~inner].mean(), 1e-12))
