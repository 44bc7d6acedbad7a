"""What is painted stands for the box around it, and the box for its text."""

import numpy as np
import pytest

from studio.tabs.face_boxes import box_text, painted_box, read_box


def layer(rows: slice, columns: slice, shape: tuple[int, int] = (40, 80)) -> np.ndarray:
    painted = np.zeros((*shape, 4), np.uint8)
    painted[rows, columns] = 255
    return painted


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 7), (39, 79)])
def test_the_box_is_the_painted_pixels_to_their_far_edges(top: int, left: int):
    box = painted_box([layer(slice(top, top + 5), slice(left, left + 9))])
    assert box == (left / 80, top / 40, min(left + 9, 80) / 80, min(top + 5, 40) / 40)


def test_several_layers_make_one_box():
    box = painted_box([layer(slice(0, 4), slice(0, 8)), layer(slice(30, 40), slice(70, 80))])
    assert box == (0, 0, 1, 1)


def test_nothing_painted_is_no_box():
    assert painted_box([]) is None
    assert painted_box([np.zeros((4, 4, 4), np.uint8)]) is None
    faint = np.zeros((4, 4, 4), np.uint8)
    faint[..., 3] = 10
    assert painted_box([faint]) is None


def test_a_box_survives_being_written_down():
    assert read_box(box_text((0.25, 0.1, 0.75, 0.625))) == (0.25, 0.1, 0.75, 0.625)
    assert read_box("") is read_box("a, b") is read_box(None) is None
