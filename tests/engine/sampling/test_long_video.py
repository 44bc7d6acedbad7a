"""Windows cover a clip of any length, and their blending is a weighted mean."""

from itertools import pairwise

import pytest
import torch

from engine.sampling.long_video import add_window, blend_weights, left_weights, plan_windows


@pytest.mark.parametrize(("length", "overlap"), [(16, 4), (21, 5), (4, 3), (5, 0), (29, 4)])
def test_windows_cover_every_frame_and_weights_sum_to_one(length: int, overlap: int):
    for stop in range(2, 160):
        windows = plan_windows(1, stop, length, overlap)
        lengths = [w.stop - w.start for w in windows]
        assert max(lengths) <= length and max(lengths) - min(lengths) <= 1
        assert all(b.start > a.start and a.stop - b.start == overlap for a, b in pairwise(windows))
        for weights in (blend_weights(windows), left_weights(windows)):
            assert all((row >= 0).all() for row in weights)
            total = torch.zeros(stop)
            for window, row in zip(windows, weights, strict=True):
                total[window.start : window.stop] += row
            torch.testing.assert_close(total[1:], torch.ones(stop - 1), msg=f"stop {stop}")
            assert total[0] == 0


def test_the_overlaps_alone_are_computed_twice():
    """29 latent frames of which 4 are shared cost 29 / 25 of the clip, whatever its length."""
    for stop in range(2, 2000):
        computed = sum(w.stop - w.start for w in plan_windows(1, stop, 29, 4))
        assert computed <= 29 / 25 * (stop - 1)


def test_a_short_clip_is_one_window_of_weight_one():
    windows = plan_windows(1, 10, 16, 4)
    assert windows == [(1, 10)]
    assert [row.tolist() for row in blend_weights(windows)] == [[1.0] * 9]


def test_an_overlap_of_four_rises_by_eighths():
    windows = plan_windows(0, 28, 16, 4)
    assert windows == [(0, 16), (12, 28)]
    rising = torch.tensor([1, 3, 5, 7]) / 8
    weights = blend_weights(windows)
    torch.testing.assert_close(weights[1][:4], rising)
    torch.testing.assert_close(weights[0][-4:], 1 - rising)


def test_three_windows_may_meet():
    windows = plan_windows(0, 40, 10, 6)
    meeting = [frame for frame in range(40) if sum(w.start <= frame < w.stop for w in windows) == 3]
    assert meeting, "this overlap was chosen because three windows meet in it"
    total = torch.zeros(40)
    for window, row in zip(windows, blend_weights(windows), strict=True):
        total[window.start : window.stop] += row
    torch.testing.assert_close(total, torch.ones(40))


def test_blending_equal_predictions_changes_nothing():
    clip = torch.randn(1, 16, 42, 2, 2)
    windows = plan_windows(1, 42, 16, 4)
    blended = torch.zeros_like(clip)
    for window, row in zip(windows, blend_weights(windows), strict=True):
        add_window(blended, clip[0, :, window.start : window.stop], window, row)
    torch.testing.assert_close(blended[:, :, 1:], clip[:, :, 1:])
    assert (blended[:, :, 0] == 0).all()


@pytest.mark.parametrize(("stop", "length", "overlap"), [(10, 4, 4), (10, 4, -1), (1, 4, 2)])
def test_impossible_windows_are_refused(stop: int, length: int, overlap: int):
    with pytest.raises(ValueError, match=r"overlap|cover"):
        plan_windows(1, stop, length, overlap)
