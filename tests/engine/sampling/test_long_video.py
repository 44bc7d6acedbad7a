"""Windows cover a clip of any length, and their blending is a weighted mean."""

from itertools import pairwise

import pytest
import torch

from engine.sampling.long_video import blend, blend_weights, plan_windows


@pytest.mark.parametrize(("length", "overlap"), [(16, 4), (21, 5), (4, 3), (5, 0), (29, 4)])
def test_windows_cover_every_frame_and_weights_sum_to_one(length: int, overlap: int):
    for stop in range(2, 160):
        windows = plan_windows(1, stop, length, overlap)
        weights = blend_weights(windows)
        assert (weights > 0).all(), stop
        assert {w.stop - w.start for w in windows} == {min(length, stop - 1)}
        assert all(b.start > a.start and a.stop - b.start >= overlap for a, b in pairwise(windows))
        total = torch.zeros(stop)
        for window, row in zip(windows, weights, strict=True):
            total[window.start : window.stop] += row
        torch.testing.assert_close(total[1:], torch.ones(stop - 1), msg=f"stop {stop}")
        assert total[0] == 0


def test_a_short_clip_is_one_window_of_weight_one():
    windows = plan_windows(1, 10, 16, 4)
    assert windows == [(1, 10)]
    assert (blend_weights(windows) == 1).all()


def test_an_overlap_of_four_rises_by_eighths():
    windows = plan_windows(0, 28, 16, 4)
    assert windows == [(0, 16), (12, 28)]
    rising = torch.tensor([1, 3, 5, 7]) / 8
    weights = blend_weights(windows)
    torch.testing.assert_close(weights[1, :4], rising)
    torch.testing.assert_close(weights[0, -4:], 1 - rising)


def test_three_windows_may_meet():
    windows = plan_windows(0, 134, 21, 5)
    meeting = [frame for frame in range(134) if sum(w.start <= frame < w.stop for w in windows) == 3]
    assert meeting, "this length was chosen because three windows meet in it"


def test_blending_equal_predictions_changes_nothing():
    clip = torch.randn(1, 16, 42, 2, 2)
    windows = plan_windows(1, 42, 16, 4)
    pieces = torch.cat([clip[:, :, w.start : w.stop] for w in windows])
    torch.testing.assert_close(blend(pieces, windows, blend_weights(windows)), clip[:, :, 1:])


@pytest.mark.parametrize(("stop", "length", "overlap"), [(10, 4, 4), (10, 4, -1), (1, 4, 2)])
def test_impossible_windows_are_refused(stop: int, length: int, overlap: int):
    with pytest.raises(ValueError, match=r"overlap|cover"):
        plan_windows(1, stop, length, overlap)
