"""What is the person's moves with them; what is behind them stays, to the bit."""

import cv2
import numpy as np
import pytest

from engine.media.person import layers, person_matte, plate
from engine.nano.face_warp import FaceWarp


@pytest.fixture(scope="module")
def matte(hopper) -> np.ndarray:
    found = person_matte(hopper.picture, hopper.landmarks_px)
    assert found is not None
    return found


def face_height_px(portrait) -> float:
    return float(np.linalg.norm(portrait.landmarks_px[152, :2] - portrait.landmarks_px[10, :2]))


def swung(portrait, degrees: float) -> np.ndarray:
    """The head rolled about the neck: what moves a silhouette most."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pivot = portrait.landmarks_px[152] + [0, 0.2 * face_height_px(portrait), 0]
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return ((portrait.landmarks_px - pivot) @ turn.T + pivot).astype(np.float32)


def test_face_and_shoulders_are_the_persons_and_corners_are_not(hopper, matte):
    x, y = hopper.landmarks_px[[1, 33, 263, 152, 10], :2].T.astype(int)
    assert matte[y, x].min() == pytest.approx(1)
    assert matte[-20:, 200:300].min() > 0.9
    assert matte[:40, :40].max() == 0 and matte[:40, -40:].max() == 0


def test_noise_has_no_person_and_a_face_that_fills_the_picture_no_background(hopper):
    noise = np.random.default_rng(0).integers(0, 256, hopper.picture.shape, np.uint8)
    assert person_matte(noise, hopper.landmarks_px) is None
    (x0, y0), (x1, y1) = hopper.landmarks_px[:, :2].min(0) + 25, hopper.landmarks_px[:, :2].max(0) - 25
    close = np.ascontiguousarray(hopper.picture[int(y0) : int(y1), int(x0) : int(x1)])
    assert person_matte(close, hopper.landmarks_px - np.array([int(x0), int(y0), 0])) is None


def test_a_large_pictures_matte_is_that_of_the_small_one(hopper, matte):
    large = cv2.resize(hopper.picture, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    found = person_matte(large, hopper.landmarks_px * 3)
    assert found is not None and found.shape == large.shape[:2]
    assert np.abs(cv2.resize(found, matte.shape[::-1], interpolation=cv2.INTER_AREA) - matte).mean() < 0.02


def test_the_plate_is_the_picture_where_nobody_is_and_hides_the_person(hopper, matte):
    behind = plate(hopper.picture, matte)
    far = cv2.dilate((matte > 0).astype(np.uint8), np.ones((61, 61))) == 0
    np.testing.assert_array_equal(behind[far], hopper.picture[far])
    x, y = hopper.landmarks_px[1, :2].astype(int)
    assert np.abs(behind[y, x].astype(int) - hopper.picture[y, x]).max() > 20


def test_one_layer_over_the_other_is_the_picture(hopper, matte):
    person, behind = layers(hopper.picture, matte, plate(hopper.picture, matte))
    alpha = person[..., 3:].astype(float) / 255
    assert (person[..., :3] <= person[..., 3:]).all()
    together = person[..., :3] + behind * (1 - alpha)
    away = np.abs(together - hopper.picture).max(2)
    assert away[alpha[..., 0] == 1].max() <= 1 and away[alpha[..., 0] == 0].max() == 0
    assert away.mean() < 0.5


def test_an_unmoved_person_gives_the_picture_back(hopper, matte):
    warp = FaceWarp(hopper.picture, hopper.landmarks_px, matte)
    away = np.abs(warp.render(hopper.landmarks_px).astype(int) - hopper.picture).max(2)
    assert away.mean() < 0.5
    assert away[matte == 1].max() <= 1, "the mesh covers all of the person"
    assert away[matte == 0].max() == 0


@pytest.mark.parametrize("degrees", [-6, 4])
def test_a_swinging_head_leaves_the_background_still_to_the_bit(hopper, matte, degrees):
    height = face_height_px(hopper)
    far = cv2.dilate((matte > 0).astype(np.uint8), np.ones((2 * int(0.35 * height) + 1,) * 2)) == 0
    assert far.mean() > 0.1
    one_layer, two_layers = (
        FaceWarp(hopper.picture, hopper.landmarks_px, given).render(swung(hopper, degrees)) for given in (None, matte)
    )
    np.testing.assert_array_equal(two_layers[far], hopper.picture[far])
    assert (one_layer[far] != hopper.picture[far]).mean() > 0.1, "rings bend the background"


def test_hair_moves_with_the_skull_and_shoulders_stay(hopper, matte):
    warp = FaceWarp(hopper.picture, hopper.landmarks_px, matte)
    moved = warp.render(hopper.landmarks_px + np.float32([8, 0, 0]))
    x0, y0 = (hopper.landmarks_px[10, :2] - [40, 60]).astype(int)
    hat = hopper.picture[y0 : y0 + 30, x0 : x0 + 70].astype(int)
    assert np.abs(moved[y0 : y0 + 30, x0 + 8 : x0 + 78] - hat).mean() < 2
    assert np.abs(moved[-30:].astype(int) - hopper.picture[-30:]).mean() < 1


def test_the_body_breathes_while_the_face_keeps_its_place(hopper, matte):
    warp = FaceWarp(hopper.picture, hopper.landmarks_px, matte)
    rest, breathed = (warp.render(hopper.landmarks_px, body=np.array([0, y])).astype(int) for y in (0, -0.03))
    x, y = hopper.landmarks_px[1, :2].astype(int)
    assert np.abs(breathed - rest)[y - 20 : y + 20, x - 20 : x + 20].max() == 0
    collar = int(hopper.landmarks_px[152, 1] + 0.5 * face_height_px(hopper))
    assert np.abs(breathed - rest)[collar : collar + 60].mean() > 2


def test_what_a_swinging_head_uncovers_is_as_light_as_what_is_round_about(hopper, matte):
    warp = FaceWarp(hopper.picture, hopper.landmarks_px, matte)
    moved = warp.render(swung(hopper, -5)).astype(int).sum(2)
    uncovered = (plate(hopper.picture, matte).astype(int).sum(2) - moved) > 150
    ears = hopper.landmarks_px[[234, 454], :2]
    x, y = int(ears[:, 0].max() + 0.3 * face_height_px(hopper)), int(ears[:, 1].mean())
    assert uncovered[y - 80 : y + 40, x : x + 60].mean() < 0.01
