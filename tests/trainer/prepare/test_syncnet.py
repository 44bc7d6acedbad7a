from pathlib import Path

import numpy as np
import pytest
import torch

from engine.contract.errors import UserError
from trainer.metrics.syncnet import MAX_LAG, SyncNet, lag_and_confidence, mfcc


@pytest.mark.parametrize("lag", [-7, 0, 4, MAX_LAG])
def test_lips_behind_the_sound_have_a_positive_lag(lag: int):
    voice = torch.randn(80, 32, generator=torch.Generator().manual_seed(0))
    measured, confidence, distance = lag_and_confidence(voice.roll(lag, 0), voice)
    assert measured == lag
    assert confidence > 1 and distance < 4


def test_unrelated_features_have_no_confidence():
    random = torch.Generator().manual_seed(1)
    _, confidence, _ = lag_and_confidence(
        torch.randn(200, 64, generator=random), torch.randn(200, 64, generator=random)
    )
    assert confidence < 0.5


def test_cepstra_are_a_hundred_a_second_and_lead_with_the_log_energy():
    time_s = np.arange(16_000) / 16_000
    cepstra = mfcc((0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32))
    louder = mfcc((np.sin(2 * np.pi * 440 * time_s)).astype(np.float32))
    assert cepstra.shape == (13, 99)
    assert np.allclose(louder[0] - cepstra[0], np.log(4), atol=1e-3)
    assert np.allclose(louder[1:], cepstra[1:], atol=1e-2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(SyncNet().state_dict(), path)
    return path


def test_a_clip_is_measured_with_weights_under_the_published_names(weights: Path):
    network = SyncNet.load(weights)
    names = set(network.state_dict())
    assert {"netcnnaud.0.weight", "netcnnlip.18.weight", "netcnnaud.19.running_mean", "netfclip.3.bias"} <= names
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (64, 64, 3)).astype(np.uint8) for _ in range(9)]
    landmarks = np.tile(random.random((1, 468, 3)).astype(np.float32) * 40 + 10, (9, 1, 1))
    lag, confidence, distance = network.measure(frames, landmarks, random.normal(0, 0.1, 9 * 640).astype(np.float32))
    assert abs(lag) <= MAX_LAG and np.isfinite([confidence, distance]).all()


def test_weights_that_are_missing_or_something_else_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="do not exist"):
        SyncNet.load(tmp_path / "no.model")
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.model")
    with pytest.raises(UserError, match="is not SyncNet's"):
        SyncNet.load(tmp_path / "other.model")
    (tmp_path / "empty.model").touch()
    with pytest.raises(UserError, match="is not SyncNet's"):
        SyncNet.load(tmp_path / "empty.model")
