"""A drift that was planted is found, and the colour match takes it away."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from engine.media.drift import ColourMatch, DriftMeter
from engine.media.picture import read_picture

BOUNDS = [(0, 12), (12, 24), (24, 36)]


def frame(index: int, shift: float = 0.0, blur: float = 0.0) -> np.ndarray:
    rows, columns = np.mgrid[0:64, 0:80]
    wave = np.sin((columns + index) / 3) * np.cos(rows / 4)
    picture = np.stack([120 + 40 * wave + shift, 110 + 30 * wave - shift, 125 - 35 * wave], axis=-1)
    picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture


def report(match: ColourMatch | None = None, **planted: float):
    meter = DriftMeter(BOUNDS, match)
    for index in range(36):
        window = index // 12
        meter.see(frame(index, **{name: window * value for name, value in planted.items()}))
    return meter.windows()


def test_a_steady_clip_does_not_drift():
    for window in report():
        assert window.colour < 0.5 and window.sharpness == pytest.approx(1, abs=0.2)


def test_a_drift_of_colour_is_found_in_its_window_and_matched_away():
    found, matched = report(shift=6.0), report(ColourMatch(), shift=6.0)
    assert [(w.start_frame, w.stop_frame) for w in found] == BOUNDS
    assert all(after.colour > before.colour + 2 for before, after in pairwise(found))
    for before, after in zip(found[1:], matched[1:], strict=True):
        assert after.colour <= 0.2 * before.colour


def test_a_loss_of_sharpness_is_found():
    sharp = [window.sharpness for window in report(blur=4.0)]
    assert sharp == sorted(sharp, reverse=True) and sharp[-1] < 0.5


def test_a_windows_colour_is_the_mean_of_its_frames():
    meter = DriftMeter([(0, 10), (10, 20)])
    for index in range(20):
        meter.see(frame(0, shift=float(index % 10)))
    first, ramp = meter.windows()
    flat = DriftMeter([(0, 1), (1, 2)])
    flat.see(frame(0)), flat.see(frame(0, shift=4.5))
    assert first.colour == pytest.approx(ramp.colour, abs=0.01)
    assert ramp.colour == pytest.approx(flat.windows()[1].colour, rel=0.1)


def test_a_face_that_becomes_another_is_found(portrait):
    picture = read_picture(portrait)
    height, width = picture.shape[:2]
    wider = cv2.resize(picture, (round(1.25 * width), height))
    meter = DriftMeter([(0, 3), (3, 6)])
    for shown in [picture] * 3 + [wider] * 3:
        meter.see(shown)
    same, other = meter.windows()
    assert same.identity == pytest.approx(0, abs=1e-3) and other.identity > 0.03
