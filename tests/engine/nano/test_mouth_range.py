"""A mouth opens within what is its own, and lips go sideways as people's do."""

import numpy as np
import pytest

from engine.nano.face_motion import CONTROL_POINTS, _is_lip
from engine.nano.mouth_range import KNEE, SIDEWAYS, WIDEST, fit_mouth
from trainer.data.faces import mean_face

INDEX = {int(point): number for number, point in enumerate(CONTROL_POINTS)}
LOWER, UPPER = [INDEX[p] for p in (87, 14, 317)], [INDEX[p] for p in (82, 13, 312)]


def opened(by: float, *, rest: float = 0.0, sideways: float = 0.0) -> tuple[float, np.ndarray]:
    """The opening over the mouth's width after lips part `by` widths more, from `rest` widths; and the motion."""
    shape = mean_face().astype(np.float32)
    width = float(np.linalg.norm(shape[291, :2] - shape[61, :2]))
    for upper, lower in zip((82, 13, 312), (87, 14, 317), strict=True):
        shape[lower, 1] = shape[upper, 1] + rest * width
    motion = np.zeros((1, len(CONTROL_POINTS), 2), np.float32)
    motion[:, LOWER, 1] = 0.7 * by * width
    motion[:, UPPER, 1] = -0.3 * by * width
    motion[:, :, 0] = sideways
    fit_mouth(motion, shape, CONTROL_POINTS, _is_lip())
    return rest + float(motion[0, LOWER, 1].mean() - motion[0, UPPER, 1].mean()) / width, motion


@pytest.mark.parametrize("by", [-0.05, 0.0, 0.1, KNEE - 0.01])
def test_an_opening_of_speech_stays_as_it_is(by):
    assert opened(by)[0] == pytest.approx(by, abs=1e-5)


@pytest.mark.parametrize("by", [KNEE + 0.05, 0.4, 0.6, 1.0])
def test_a_wider_one_is_bounded_and_still_grows(by):
    assert KNEE < opened(by)[0] < WIDEST
    assert opened(by)[0] > opened(by - 0.04)[0]


def test_a_mouth_that_is_open_in_the_picture_is_not_closed():
    assert opened(0.0, rest=0.5)[0] == pytest.approx(0.5, abs=1e-5)


def test_lips_go_further_sideways_and_brows_do_not():
    motion = opened(0.1, sideways=0.01)[1][0, :, 0]
    assert motion[_is_lip()] == pytest.approx(0.01 * SIDEWAYS) and motion[~_is_lip()] == pytest.approx(0.01)
