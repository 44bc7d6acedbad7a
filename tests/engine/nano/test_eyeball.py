"""Eyes look elsewhere together, inside their lids, and only where there is an iris to see."""

import numpy as np
import pytest

from engine.nano.eyeball import find_iris
from engine.nano.face_mesh import LEFT_EYE, RIGHT_EYE, HeadFrame, opening_loop
from engine.nano.face_warp import FaceWarp
from engine.nano.sprites import cut_out


def painted_eye(iris_x: float) -> tuple[np.ndarray, np.ndarray]:
    """A white almond 60 px wide with a dark disc of 12 px radius, and where it is open."""
    y, x = np.mgrid[:40, :80]
    inside = (((x - 40) / 30) ** 2 + ((y - 20) / 12) ** 2 < 1).astype(np.uint8)
    light = np.where((x - iris_x) ** 2 + (y - 20) ** 2 < 12**2, 60, 220)
    return np.repeat(np.where(inside, light, 150)[..., None], 3, axis=2).astype(np.uint8), inside


@pytest.mark.parametrize("iris_x", [32, 40, 46])
def test_an_iris_is_found_where_it_is(iris_x):
    found = find_iris(*painted_eye(iris_x), radius_px=12)
    assert found is not None
    assert abs(found[0] - iris_x) <= 2.5


def test_a_blank_eye_has_no_iris():
    pixels, inside = painted_eye(40)
    assert find_iris(np.full_like(pixels, 180), inside, 12) is None
    assert find_iris(pixels, np.zeros_like(inside), 12) is None


def dark_middles(frame: np.ndarray, portrait) -> np.ndarray:
    """The x of each eye's darkness, in mm."""
    middles = []
    for eye in (RIGHT_EYE, LEFT_EYE):
        pixels, inside, corner = cut_out(frame, portrait.landmarks_px[opening_loop(eye), :2].astype(float), 1)
        dark = np.where(inside, np.maximum(120.0 - pixels.mean(2), 0), 0)
        middles.append(corner[0] + (dark.sum(0) * np.arange(dark.shape[1])).sum() / dark.sum())
    return np.array(middles) / HeadFrame(portrait.landmarks_px.astype(float)).px_per_mm


def test_both_irises_slide_alike_and_nothing_beyond_the_eyes_changes(astronaut):
    warp = FaceWarp(astronaut.picture, astronaut.landmarks_px)
    rest, right, left = (warp.render(astronaut.landmarks_px, look_mm=np.array([x, 0.0])) for x in (0.0, 1.5, -1.5))
    slid = dark_middles(right, astronaut) - dark_middles(left, astronaut)
    assert (slid > 1.0).all() and (slid < 3.5).all()
    changed = (right != rest).any(2)
    for eye in (RIGHT_EYE, LEFT_EYE):
        (x0, y0), (x1, y1) = (
            astronaut.landmarks_px[opening_loop(eye), :2].min(0) - 2,
            astronaut.landmarks_px[opening_loop(eye), :2].max(0) + 3,
        )
        changed[int(y0) : int(y1), int(x0) : int(x1)] = False
    assert not changed.any()


def test_an_eye_without_an_iris_keeps_the_other_one_still(astronaut):
    blank = astronaut.picture.copy()
    _, inside, (x, y) = cut_out(blank, astronaut.landmarks_px[opening_loop(LEFT_EYE), :2].astype(float), 3)
    blank[y : y + inside.shape[0], x : x + inside.shape[1]] = 150
    warp = FaceWarp(blank, astronaut.landmarks_px)
    looked = warp.render(astronaut.landmarks_px, look_mm=np.array([1.5, 0.5]))
    np.testing.assert_array_equal(looked, warp.render(astronaut.landmarks_px))


def test_a_look_far_beyond_the_eyes_is_bounded(astronaut):
    warp = FaceWarp(astronaut.picture, astronaut.landmarks_px)
    far, bound = (warp.render(astronaut.landmarks_px, look_mm=np.array([x, 0.0])) for x in (1e3, 1e6))
    np.testing.assert_array_equal(far, bound)
