import numpy as np
import pytest

from trainer.metrics.mouth import at_metric_rate, inner_lip_aperture


def face(opening_px: float, eyes_px: float = 100.0) -> np.ndarray:
    landmarks_px = np.zeros((468, 3))
    landmarks_px[33], landmarks_px[263] = (50, 40, 0), (50 + eyes_px, 40, 0)
    landmarks_px[13], landmarks_px[14] = (100, 90, 0), (100, 90 + opening_px, 5)
    return landmarks_px


def test_the_opening_is_a_share_of_the_eye_distance():
    assert inner_lip_aperture(face(25.0)) == pytest.approx(0.25)
    assert inner_lip_aperture(face(0.0)) == 0.0


def test_size_place_and_tilt_of_the_face_do_not_matter():
    tilt = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    assert inner_lip_aperture(face(25.0) @ tilt.T * 3 + 200) == pytest.approx(0.25)


def test_a_track_of_25_fps_is_left_as_it_is():
    track = np.random.default_rng(0).random(117)
    assert np.array_equal(at_metric_rate(track, 25.0), track)


@pytest.mark.parametrize("fps", [12.5, 23.976, 29.97, 30.0, 50.0, 60.0])
def test_other_rates_keep_their_time(fps):
    seconds = 8.0
    slow_wave = np.sin(2 * np.pi * 0.5 * (np.arange(round(seconds * fps)) + 0.5) / fps)
    track = at_metric_rate(slow_wave, fps)
    assert len(track) == 200
    expected = np.sin(2 * np.pi * 0.5 * (np.arange(200) + 0.5) / 25)
    # Half a source frame is the most that the frame shown can be early or late.
    assert np.abs(track - expected).max() <= 2 * np.pi * 0.5 * 0.5 / fps + 1e-3
