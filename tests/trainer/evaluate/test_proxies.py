import numpy as np
import pytest

from trainer.metrics.proxies import FrameWatcher, colour_drift, face_proxies, silence_motion


def watched(frames: list[np.ndarray], fps: float = 25.0) -> dict[str, float]:
    watcher = FrameWatcher(fps)
    assert len(list(watcher.watch(iter(frames)))) == len(frames)
    return watcher.measured()


def test_a_still_film_neither_flickers_nor_drifts_nor_blurs(picture):
    measured = watched([picture] * 60)
    assert measured["flicker"] == 0.0 and measured["colour_drift"] == pytest.approx(0.0, abs=1e-6)
    assert measured["sharpness"] == pytest.approx(1.0)


def test_every_fault_is_seen_by_its_own_measure(picture):
    flickering = [np.clip(picture.astype(int) + 10 * (index % 2), 0, 255).astype(np.uint8) for index in range(30)]
    assert watched(flickering)["flicker"] > 5.0
    redder = [np.clip(picture + np.array([index, 0, 0]), 0, 255).astype(np.uint8) for index in range(60)]
    assert watched(redder)["colour_drift"] > 3.0
    import cv2

    blurred = [picture, *[cv2.GaussianBlur(picture, (0, 0), 3)] * 5]
    assert watched(blurred)["sharpness"] < 0.3


def test_no_hand_is_seen_in_a_portrait_of_a_head(picture):
    height = picture.shape[0]
    assert watched([picture[: height // 2]] * 6)["hand_presence"] == 0.0


def test_colours_that_never_leave_have_no_drift_and_a_second_is_too_short():
    assert colour_drift(np.tile([50.0, 3.0, 3.0], (75, 1)), 25.0) == 0.0
    assert np.isnan(colour_drift(np.zeros((25, 3)), 25.0))


def moving(places_px: np.ndarray) -> list[np.ndarray]:
    skull = np.random.default_rng(0).normal(0, 40, (468, 3))
    skull[33, :2], skull[263, :2] = (-50, 0), (50, 0)
    return [skull + np.array([*place, 0.0]) for place in places_px]


def test_jerk_is_that_of_a_swing_and_a_steady_glide_has_none():
    times_s = np.arange(100) / 25
    glide = moving(np.stack([30 * times_s, 10 * times_s], axis=1))
    assert face_proxies(glide, 25.0)["jerk"] == pytest.approx(0.0, abs=1e-6)
    swing = moving(np.stack([20 * np.sin(2 * np.pi * 1.0 * times_s), 0 * times_s], axis=1))
    known = 0.2 * (2 * np.pi) ** 3 / np.sqrt(2)
    assert face_proxies(swing, 25.0)["jerk"] == pytest.approx(known, rel=0.05)
    assert face_proxies(swing, 25.0)["identity"] == pytest.approx(0.0, abs=1e-4)


def test_another_skull_is_another_identity_and_frames_without_a_face_are_left_out():
    one = moving(np.zeros((5, 2)))
    other = [face * np.array([1.0, 1.4, 1.0]) for face in one]
    assert face_proxies([*one, *other], 25.0)["identity"] > 0.05
    assert face_proxies([None, *one, None], 25.0)["identity"] == pytest.approx(0.0, abs=1e-4)
    assert np.isnan(face_proxies([one[0]], 25.0)["jerk"])


def test_lips_that_rest_in_silence_measure_nought_and_lips_that_go_on_one():
    voiced = np.repeat([True, False, True, False], 50)
    talking = 0.5 - 0.5 * np.cos(np.arange(200) * 2 * np.pi / 10)
    assert silence_motion(np.where(voiced, talking, 0.0), voiced, 25.0) == pytest.approx(0.0, abs=1e-9)
    assert silence_motion(talking, voiced, 25.0) == pytest.approx(1.0, abs=0.1)
    assert np.isnan(silence_motion(talking, np.ones(200, bool), 25.0))
    assert np.isnan(silence_motion(talking, np.zeros(200, bool), 25.0))
