import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.media.face import find_face
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter
from engine.nano.face_mesh import INNER_LIPS
from engine.nano.face_warp import FaceWarp
from trainer.metrics.speech_tracks import band_log_energy_db

SENTENCE = "we need to move our world away from fossil fuels"


@pytest.fixture(scope="session")
def speech_wav(tmp_path_factory) -> Path:
    """A sentence in a synthetic English voice, 16 kHz, with half a second of silence on either side."""
    if shutil.which("flite") is None:
        pytest.skip("flite speaks the test sentence and is not installed")
    path = tmp_path_factory.mktemp("speech") / "sentence.wav"
    subprocess.run(["flite", "-voice", "slt", "-t", SENTENCE, "-o", str(path)], check=True)
    audio, rate_hz = soundfile.read(path, dtype="float32")
    pause = np.zeros(rate_hz // 2, dtype=np.float32)
    soundfile.write(path, np.concatenate([pause, audio, pause]), rate_hz)
    return path


@pytest.fixture(scope="session")
def picture(portrait) -> np.ndarray:
    """The portrait as a video shows it: uint8 RGB [H, W, 3], even sides."""
    return even_size(read_picture(portrait))


@pytest.fixture(scope="session")
def film(picture, speech_wav, tmp_path_factory):
    """film(delay_frames, fps): the picture's mouth opens with the sound's energy, `delay_frames` of 1/25 s late."""
    landmarks_px = find_face(picture)[0].landmarks_px
    warp = FaceWarp(picture, landmarks_px)
    folder = tmp_path_factory.mktemp("film")

    def make(delay_frames: int = 0, fps: int = 25, sound: bool = True) -> Path:
        audio, _ = soundfile.read(speech_wav, dtype="float32")
        energy_db = band_log_energy_db(audio)
        opening = np.roll((energy_db - energy_db.min()) / np.ptp(energy_db), delay_frames)
        path = folder / f"film_{delay_frames}_{fps}_{sound}.mp4"
        height, width = picture.shape[:2]
        with VideoWriter(path, (width, height), fps, audio if sound else None) as writer:
            for index in range(round(len(opening) / 25 * fps)):
                share = opening[min(int((index + 0.5) / fps * 25), len(opening) - 1)]
                writer.write(warp.render(with_open_mouth(landmarks_px, float(share))))
        return path

    return make


def with_open_mouth(landmarks_px: np.ndarray, share: float) -> np.ndarray:
    """The landmarks with lower lip and jaw dropped by up to an eighth of the face's height, most in the middle."""
    upper_lip, lower_lip = INNER_LIPS
    below = landmarks_px[:, 1] > landmarks_px[[13, 14], 1].mean()
    below[list(lower_lip)] = True
    below[list(upper_lip)] = False
    corners_px = landmarks_px[[78, 308], 0]
    across = np.clip((landmarks_px[:, 0] - corners_px.min()) / np.ptp(corners_px), 0, 1)
    moved_px = landmarks_px.copy()
    drop_px = share * np.ptp(landmarks_px[:, 1]) / 8
    moved_px[below, 1] += drop_px * np.sqrt(4 * across * (1 - across))[below]
    return moved_px
