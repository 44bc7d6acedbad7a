"""Small real things that tests share: a portrait, a voice-like sound, and a nano model with random weights."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.cbook import get_sample_data

RATE_HZ = 16_000


def voice_like(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A buzz with syllables: harmonics of 120 Hz that swell four times a second, float32 mono."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    buzz = sum(np.sin(2 * np.pi * 120 * k * time_s) / k for k in range(1, 20))
    return (0.1 * buzz * np.sin(np.pi * 4 * time_s) ** 2).astype(np.float32)


@pytest.fixture(scope="session", autouse=True)
def _signing_folder(tmp_path_factory: pytest.TempPathFactory):
    """Videos are signed here as everywhere, by a key that goes with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHOMIMIC_SIGNING_FOLDER", str(tmp_path_factory.mktemp("signing")))
        yield


@pytest.fixture(scope="session")
def portrait() -> Path:
    """A public-domain photograph of one face, 512 x 600 px, mouth closed."""
    return Path(get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.3 s of sound that is no whole number of latent frames long."""
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(path, voice_like(1.3), RATE_HZ)
    return path


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole nano model as it lies on disk, its weights random."""
    from tests.tiny_nano import save_tiny_nano

    return save_tiny_nano(tmp_path_factory.mktemp("nano"))
