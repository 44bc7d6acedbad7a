"""What a synthetic speaker truly does, as landmarks: the ceiling of every measure of nano's motion, and their check.

The same functions that make training clips act out a track on a face that starts with closed lips, looking ahead.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from engine.nano.face_motion import CONTROL_POINTS, FaceMotionAutoencoder, FaceReference
from engine.sampling.tasks import next_valid_length
from trainer.data.faces import expressions
from trainer.data.speech.corpus import SAMPLES_PER_FRAME, Track
from trainer.data.synthetic_clips import perform


def act(
    autoencoder: FaceMotionAutoencoder,
    reference: FaceReference,
    track: Track,
    *,
    seed: int,
    mood: str = "calm",
    movement: str = "natural",
) -> NDArray[np.float32]:
    """The landmarks of `reference` truly saying `track` in a mood and a movement of `synthetic_clips`: [F, 468, 3]."""
    frames = len(track.curves)
    behind = next_valid_length(frames) - frames
    curves = np.concatenate([track.curves, np.repeat(track.curves[-1:], behind, axis=0)])
    emphasis = np.pad(_emphasis(track.wave, frames), (0, behind))
    strength, slots, _ = perform(curves, emphasis, mood, movement, np.random.default_rng([seed, 9]))
    still = reference.shape[CONTROL_POINTS, :2]
    points = still + np.einsum("fe,epc->fpc", strength, expressions()[:, CONTROL_POINTS])
    packed = (torch.from_numpy(np.asarray(part[None], np.float32)) for part in (points, still, slots))
    return autoencoder.decode_motion(autoencoder.pack(*packed), reference).landmarks_px[:frames]


def _emphasis(wave: NDArray[np.float32], frames: int) -> NDArray[np.float64]:
    """Loudness over half seconds against its surroundings, zero where nothing is heard: what nods follow, [F]."""
    loudness = np.sqrt(np.square(wave[: frames * SAMPLES_PER_FRAME]).reshape(frames, -1).mean(1))
    envelope = gaussian_filter1d(loudness, 5) - gaussian_filter1d(loudness, 25)
    return envelope / max(float(envelope.std()), 1e-9)
