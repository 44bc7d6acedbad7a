"""The rows about nano's motion: numbers of a tiny model on humming, each judged by its own goal."""

import numpy as np

from engine.contract.variants import NANO
from tests.tiny_nano import tiny_nano
from tests.trainer.small_runs import hums
from trainer.metrics.held_out import aperture_r
from trainer.prove.nano import LEAST_R, lips, regressed_r


def test_lips_and_their_regressor_are_measured_on_the_same_clips():
    model, tracks = tiny_nano(), list(hums(("hum",), 3, 2.0))
    (alone, alone_said, alone_met), (_, ratio_said, _) = lips(model, tracks)
    own = np.mean([aperture_r(model, NANO.default_settings, track, seed) for seed, track in enumerate(tracks)])
    assert "3 clips" in alone and alone_said.startswith(f"{own:.3f}") and alone_met == (own >= LEAST_R)
    heard = regressed_r(model, tracks)
    assert heard.shape == (3,) and np.all(np.abs(heard) <= 1)
    assert ratio_said.startswith(f"{own / heard.mean():.3f}")
