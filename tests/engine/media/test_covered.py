"""A mouth that a picture does not show is told; one that it shows, in whatever style, is not."""

import cv2
import numpy as np
import pytest

from engine.contract.places import ASSETS
from engine.media.covered import COVERED_NOTICE, covered_mouth_notice
from engine.media.face import find_face
from engine.media.picture import read_picture

# Along the jaw from ear to ear and back over the nose, as a mask lies.
MASK = (
    234,
    93,
    132,
    58,
    172,
    136,
    150,
    149,
    176,
    148,
    152,
    377,
    400,
    378,
    379,
    365,
    397,
    288,
    361,
    323,
    454,
    280,
    195,
    50,
)
PORTRAITS = sorted((ASSETS / "examples").glob("*.jpg"))


def masked(picture: np.ndarray, landmarks_px: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The face under cloth of `colour`, lit as the picture is."""
    cloth = np.zeros(picture.shape[:2], np.float32)
    cv2.fillPoly(cloth, [landmarks_px[list(MASK), :2].astype(np.int32)], (1.0,))
    cloth = cv2.GaussianBlur(cloth, (0, 0), 2)[..., None]
    light = 0.7 + 0.3 * picture.mean(2, keepdims=True) / 255
    noise = np.random.default_rng(0).normal(0, 2, picture.shape)
    return np.clip(picture * (1 - cloth) + cloth * np.array(colour) * light + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("path", PORTRAITS, ids=lambda path: path.stem)
def test_a_mouth_that_is_seen_is_not_called_covered_in_colour_grey_or_small(path):
    picture = read_picture(path)
    grey = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    for shown in (picture, grey, cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)):
        assert covered_mouth_notice(shown, find_face(shown)[0].landmarks_px) is None


@pytest.mark.parametrize("path", PORTRAITS, ids=lambda path: path.stem)
@pytest.mark.parametrize("colour", [(240, 240, 240), (120, 170, 220), (25, 25, 30), (205, 160, 135)], ids=str)
def test_a_mask_is_told(path, colour: tuple[int, int, int]):
    picture = read_picture(path)
    covered = masked(picture, find_face(picture)[0].landmarks_px, colour)
    assert covered_mouth_notice(covered, find_face(covered)[0].landmarks_px) == COVERED_NOTICE


def test_a_face_that_is_cut_off_or_tiny_says_nothing():
    picture = read_picture(PORTRAITS[0])
    landmarks_px = find_face(picture)[0].landmarks_px
    assert covered_mouth_notice(picture, landmarks_px * 0.02) is None
    for aside in (1.0, -1.0):
        assert covered_mouth_notice(picture, landmarks_px + np.array([aside * picture.shape[1], 0, 0])) is None
