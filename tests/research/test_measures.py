import numpy as np
import pytest

from engine.contract.variants import NANO
from engine.sampling.long_video import plan_windows
from research.measures import overlapped, seam_jump, silence


def test_overlaps_are_where_two_windows_see_a_frame():
    settings = NANO.default_settings
    shared = overlapped(197, settings, 16)
    seen = np.zeros(197, int)
    for start, stop in plan_windows(1, 50, 16, 4):
        # Latent frame k is video frames 4k - 3 to 4k.
        seen[4 * start - 3 : 4 * (stop - 1) + 1] += 1
    assert seen[1:].min() == 1 and seen.max() == 2
    np.testing.assert_array_equal(shared, seen == 2)
    assert not overlapped(60, settings, 16).any()


def test_a_steady_motion_has_no_seam_and_a_jolt_in_an_overlap_is_one():
    times = np.arange(100) / 25
    places = np.stack([np.sin(2 * times), np.cos(3 * times)], axis=1)[:, None]
    seams = np.zeros(100, bool)
    seams[40:56] = True
    assert seam_jump(places, seams) == pytest.approx(1.0, abs=0.6)
    jolted = places.copy()
    jolted[48:] += 0.5
    assert seam_jump(jolted, seams) > 5
    assert np.isnan(seam_jump(places, np.zeros(100, bool)))


def test_silence_is_judged_in_pauses_alone():
    true = np.concatenate([np.full(40, 0.5), np.zeros(40), np.full(40, 0.5)])
    assert silence(true, true) == pytest.approx(0.0)
    assert silence(np.where(true > 0, true, 0.3) + np.linspace(0, 1e-3, 120), true) == pytest.approx(0.0, abs=0.02)
    babble = 0.5 + 0.5 * np.sin(np.arange(120))
    assert silence(babble, true) == pytest.approx(0.5, abs=0.1)
    assert np.isnan(silence(babble, np.full(120, 0.5)))
