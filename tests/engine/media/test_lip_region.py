"""Beyond the lower face nothing changes, bit for bit; the model's cells are those that the region touches."""

import numpy as np
import pytest

from engine.media.lip_region import composite, feathered, follow, generated_cells, lip_box

SHAPE = (96, 80)


@pytest.mark.parametrize("box", [(0.2, 0.5, 0.8, 0.9), (0.0, 0.4, 1.0, 1.0), (0.31, 0.52, 0.33, 0.55)])
def test_every_pixel_outside_the_box_stays_and_the_middle_is_drawn(box):
    random = np.random.default_rng(0)
    source, drawn = random.integers(0, 255, (2, *SHAPE, 3), dtype=np.uint8)
    mixed = composite(source, drawn, box)
    (rows, columns), weights = feathered(box, SHAPE)
    outside = np.ones(SHAPE, bool)
    outside[rows, columns] = False
    assert np.array_equal(mixed[outside], source[outside])
    assert (weights >= 0).all() and (weights <= 1).all()
    assert rows.start >= np.floor(box[1] * SHAPE[0]) and rows.stop <= np.ceil(box[3] * SHAPE[0])
    if weights.shape[0] > 20:
        middle = (rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2
        assert np.array_equal(mixed[middle], drawn[middle])
        assert weights[0].max() < 0.3 and weights[:, 0].max() < 0.3


def test_cells_are_those_the_box_touches_and_whole_tokens():
    cells = generated_cells((0.26, 0.5, 0.74, 0.81), 8, 8)
    assert cells.sum() == 4 * 3 and (cells[4:7, 2:6] == 1).all()


def test_a_box_drawn_by_hand_follows_the_face():
    given, first = (0.3, 0.5, 0.6, 0.8), (0.2, 0.4, 0.6, 0.8)
    assert follow(given, first, first) == pytest.approx(given)
    moved = (0.3, 0.5, 0.7, 0.9)
    assert follow(given, first, moved) == pytest.approx((0.4, 0.6, 0.7, 0.9))


def test_the_lower_face_goes_from_the_nose_to_below_the_chin():
    landmarks_px = np.zeros((468, 3), np.float32)
    landmarks_px[:, :2] = (40, 30)
    landmarks_px[1, :2], landmarks_px[152, :2] = (40, 40), (40, 70)
    landmarks_px[172, :2], landmarks_px[397, :2] = (25, 55), (55, 55)
    x0, y0, x1, y1 = lip_box(landmarks_px, (100, 80))
    assert (y0, y1) == pytest.approx((0.4, 0.70 + 0.3 * 0.30)), "30 % of what lies between nose and chin below it"
    assert x0 < 25 / 80 and x1 > 55 / 80
