"""What is put into a face's landmarks is read out of them again."""

import numpy as np
import pytest

from engine.contract.errors import UserError
from engine.contract.variants import FPS
from engine.nano.face_mesh import LEFT_EYE, RIGHT_EYE
from trainer.data.faces import mean_face
from trainer.metrics.liveliness import BANDS, BackgroundWatcher, FaceTracks, liveliness, sameness

SECONDS = 12
T = np.arange(SECONDS * FPS) / FPS


def filmed(closing=None, yaw=None, brows_mm=None, lips_mm=None) -> list[np.ndarray]:
    """The mean face, 90 mm between its eyes as 180 px: `closing` [F, 2] of right and left eye, `yaw` [F] degrees."""
    face = mean_face().astype(np.float64)
    face *= 180 / np.linalg.norm(face[33] - face[263])
    frames = np.repeat(face[None], len(T), axis=0)
    if closing is not None:
        for eye, (upper, lower) in enumerate((RIGHT_EYE, LEFT_EYE)):
            gap = face[list(lower)] - face[list(upper)]
            frames[:, list(upper)] += closing[:, eye, None, None] * gap
    if brows_mm is not None:
        frames[:, [70, 105, 107, 52, 300, 334, 336, 282], 1] -= 2 * brows_mm[:, None]
    if lips_mm is not None:
        frames[:, 14, 1] += 2 * lips_mm
    if yaw is not None:
        c, s, one, nought = np.cos(a := np.radians(yaw)), np.sin(a), np.ones_like(a), np.zeros_like(a)
        turn = np.array([[c, nought, s], [nought, one, nought], [-s, nought, c]]).transpose(2, 0, 1)
        frames = frames @ turn.transpose(0, 2, 1)
    return list(frames + np.array([300, 300, 0]))


def closings(at_s, depth=0.9, eyes=(1, 1)) -> np.ndarray:
    bumps = sum(np.exp(-0.5 * ((T - at) * FPS / 1.7) ** 2) for at in at_s)
    return depth * bumps[:, None] * np.array(eyes)


def measured(**life):
    return liveliness(FaceTracks.of(filmed(**life), FPS))


def test_a_still_face_has_no_life():
    still = measured()
    assert still.blinks_per_min == still.winks == still.openings_per_s == 0
    assert max(still.brow_range, still.yaw_sd, still.pitch_sd, still.width_sd, still.lid_sd) < 1e-6
    assert np.isnan(still.blink_depth)


def test_blinks_are_counted_with_depth_and_width():
    found = measured(closing=closings([2, 5, 9]))
    assert found.blinks_per_min == pytest.approx(15)
    assert found.blink_depth == pytest.approx(0.9, abs=0.05)
    assert found.blink_fwhm_frames == pytest.approx(2.355 * 1.7, abs=0.5)
    assert found.blink_asymmetry < 0.02
    assert found.winks == 0


def test_one_eye_alone_is_a_wink_and_no_blink():
    found = measured(closing=closings([2, 5, 9], eyes=(1, 0.1)))
    assert found.winks == 3
    # Half of the mean falls, so that a wink passes for a blink by depth: the difference of the eyes tells it.
    assert found.blinks_per_min == 0 or found.blink_asymmetry > 0.5


def test_a_look_down_and_long_closed_eyes_are_no_blinks():
    assert measured(closing=closings([3, 8], depth=0.25)).blinks_per_min == 0
    asleep = np.repeat(np.clip((T - 3) * 5, 0, 0.9)[:, None], 2, axis=1)
    assert measured(closing=asleep).blinks_per_min == 0


def test_the_head_is_measured_in_degrees_and_leaves_the_face_alone():
    turned = measured(yaw=4 * np.sin(T))
    assert turned.yaw_sd == pytest.approx(4 / np.sqrt(2), rel=0.1)
    assert turned.pitch_sd < 0.1
    assert turned.brow_range < 0.2 and turned.width_sd < 0.2
    assert turned.head_jitter < 0.05


def test_brows_and_lips_are_measured_in_millimetres():
    found = measured(brows_mm=2 * np.sin(T), lips_mm=5 * (1 + np.sin(2 * np.pi * 2 * T)))
    assert found.brow_range == pytest.approx(4, abs=0.1)
    assert found.openings_per_s == pytest.approx(2, abs=0.1)
    assert found.opening_p99 == pytest.approx(10, abs=0.2)


def test_tracks_of_another_rate_come_to_twenty_five_frames_per_second():
    half = [face for number, face in enumerate(filmed(yaw=4 * np.sin(T))) if number % 2 == 0]
    assert liveliness(FaceTracks.of(half, FPS / 2)).yaw_sd == pytest.approx(
        measured(yaw=4 * np.sin(T)).yaw_sd, rel=0.05
    )


def test_the_same_dance_is_told_from_different_ones():
    dances = [4 * np.sin(T * speed + phase) for speed, phase in ((1, 0), (1.5, 2), (2.1, 4))]
    same, different = [[FaceTracks.of(filmed(yaw=yaw), FPS) for yaw in yaws] for yaws in ([dances[0]] * 3, dances)]
    assert sameness(same)["yaw_r"] == pytest.approx(1)
    assert abs(sameness(different)["yaw_r"]) < 0.3
    with pytest.raises(UserError, match="at least two"):
        sameness(same[:1])


def test_a_few_unseen_frames_are_bridged_and_many_refused():
    frames: list = filmed(yaw=4 * np.sin(T))
    frames[10] = frames[11] = None
    assert liveliness(FaceTracks.of(frames, FPS)).yaw_sd == pytest.approx(measured(yaw=4 * np.sin(T)).yaw_sd, rel=0.01)
    frames[50:150] = [None] * 100
    with pytest.raises(UserError, match="seen in 198 of 300"):
        FaceTracks.of(frames, FPS)


def test_a_still_background_deviates_by_nothing_at_all():
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (20, 30, 3), np.uint8)
    outside = np.zeros((20, 30), bool)
    outside[:, :10] = True
    still, moving = BackgroundWatcher(outside), BackgroundWatcher(outside)
    for number in range(5):
        frame = picture.copy()
        frame[:, 10:] += np.uint8(number)
        still.see(frame)
        moving.see(np.roll(frame, number, axis=0))
    assert still.deviation() == (0.0, 0.0)
    assert min(moving.deviation()) > 10


def test_every_band_is_of_something_measured_and_has_two_sides():
    assert set(BANDS) <= set(measured().rows())
    assert all(low <= high for low, high in BANDS.values())
