import json
from pathlib import Path

import numpy as np
import pytest

from engine.contract.variants import NANO
from engine.media.audio import read_audio
from engine.media.face import find_face
from engine.media.picture import read_picture
from engine.nano.animator import encode_conditions
from engine.nano.face_motion import FaceReference
from engine.nano.model import NanoModel
from engine.sampling.denoise import denoise

EXAMPLES = NANO.folder.parent / "examples"
UPPER_LIP, LOWER_LIP, UPPER_LID, LOWER_LID = 13, 14, 159, 145


@pytest.fixture(scope="module")
def nano() -> NanoModel:
    return NanoModel.load(NANO.folder)


@pytest.fixture(scope="module")
def reference(nano) -> FaceReference:
    picture = read_picture(EXAMPLES / "02_navy-portrait.jpg")
    return nano.autoencoder.reference(picture, find_face(picture)[0].landmarks_px)


def landmarks_of(nano: NanoModel, reference: FaceReference, wave: np.ndarray, prompt: str = "") -> np.ndarray:
    frames = len(wave) // 640
    latents = denoise(
        nano.transformer,
        encode_conditions(nano, reference, wave, frames, prompt=prompt),
        NANO.default_settings,
        window_latent_frames=nano.window_latent_frames,
        seed=1,
        watch=lambda done, clean: None,
    )
    return nano.autoencoder.decode_motion(latents, reference).landmarks_px


def opening(landmarks: np.ndarray, upper: int, lower: int) -> np.ndarray:
    """Distance over the distance of the outer eye corners, [F]."""
    return (landmarks[:, lower, 1] - landmarks[:, upper, 1]) / (landmarks[:, 263, 0] - landmarks[:, 33, 0])


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(EXAMPLES / "02_bakery.wav")


def test_the_lips_follow_the_voice(nano, reference, speech):
    followed = opening(landmarks_of(nano, reference, speech), UPPER_LIP, LOWER_LIP)[: len(speech) // 640]
    loudness = np.sqrt((speech[: len(followed) * 640].reshape(-1, 640) ** 2).mean(1))
    assert np.corrcoef(followed, np.log(loudness + 1e-3))[0, 1] > 0.4
    assert np.quantile(followed, 0.95) > 0.12


def test_the_lips_stay_closed_in_silence(nano, reference):
    landmarks = landmarks_of(nano, reference, np.zeros(16000 * 6, np.float32))
    assert np.quantile(opening(landmarks, UPPER_LIP, LOWER_LIP), 0.95) < 0.03


def test_the_eyes_blink_in_silence_and_are_open_between(nano):
    picture = read_picture(EXAMPLES / "01_drawn-portrait.jpg")
    reference = nano.autoencoder.reference(picture, find_face(picture)[0].landmarks_px)
    eyes = opening(landmarks_of(nano, reference, np.zeros(16000 * 20, np.float32)), UPPER_LID, LOWER_LID)
    assert eyes.min() < 0.5 * np.median(eyes)
    assert np.median(eyes) > 0.8 * eyes[0]


def test_a_happy_prompt_widens_the_mouth(nano, reference, speech):
    widths = [
        np.mean(np.linalg.norm(landmarks[50:, 291, :2] - landmarks[50:, 61, :2], axis=1))
        for landmarks in (landmarks_of(nano, reference, speech, prompt) for prompt in ("", "happy"))
    ]
    assert widths[1] > 1.03 * widths[0]


def test_what_is_bundled_says_how_it_was_made_and_is_small():
    folder: Path = NANO.folder
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 40e6
    recipe = json.loads((folder / "nano.json").read_text())["recipe"]
    assert recipe["name"] == "nano-contacts" and "seed" in recipe
    steps = [json.loads(line)["step"] for line in (folder / "loss.jsonl").read_text().splitlines()]
    assert steps == list(range(len(steps))) and len(steps) > sum(stage["steps"] for stage in recipe["stages"])
