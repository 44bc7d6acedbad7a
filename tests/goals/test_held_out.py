"""The rows about nano's motion: numbers of a tiny model on humming, each judged by its own goal."""

import numpy as np

from engine.contract.variants import NANO
from goals.nano.held_out import LEAST_R, lips, regressed_r
from tests.tiny_nano import tiny_nano
from tests.trainer.small_runs import hums
from trainer.metrics.held_out import aperture_r


def test_lips_and_their_regressor_are_measured_on_the_same_clips():
    model, tracks = tiny_nano(), list(hums(("hum",), 3, 2.0))
    mean, median, low, ratio = lips(model, tracks)
    own = np.array([aperture_r(model, NANO.default_settings, track, seed) for seed, track in enumerate(tracks)])
    assert "3 clips" in mean.what and mean.measured.startswith(f"{own.mean():.3f} (95 %")
    assert mean.met == (own.mean() >= LEAST_R)
    assert median.measured == f"{np.median(own):.3f}" and low.measured == f"{np.percentile(own, 10):.3f}"
    heard = regressed_r(model, tracks)
    assert heard.shape == (3,) and np.all(np.abs(heard) <= 1)
    assert ratio.measured.startswith(f"{own.mean() / heard.mean():.3f}")
