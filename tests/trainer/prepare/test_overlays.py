import itertools

import cv2
import numpy as np
import pytest

from engine.media.face import find_face
from engine.media.picture import read_picture
from trainer.prepare.overlays import FACE_MARGIN, crop_without, overlaid_text

FACE = (0.4, 0.2, 0.6, 0.5)


def touches(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_a_subtitle_is_read_and_cut_off_below_the_face(portrait):
    picture = np.ascontiguousarray(read_picture(portrait))
    height, width = picture.shape[:2]
    written = cv2.putText(
        picture.copy(), "good evening", (width // 5, height - 20), cv2.FONT_HERSHEY_DUPLEX, 1.2, (255, 255, 255), 2
    )
    [(text, box)] = overlaid_text(written)
    assert text.startswith("good")
    crop = crop_without([box], find_face(picture)[0].box)
    assert crop is not None and crop[:3] == (0.0, 0.0, 1.0) and 0.8 < crop[3] < box[1]


def test_what_is_printed_in_the_scene_stays(portrait):
    assert overlaid_text(read_picture(portrait)) == []  # a flag with stars and a name tag


@pytest.mark.parametrize(
    "boxes", list(itertools.combinations([(0.1, 0.9, 0.9, 0.95), (0, 0, 0.2, 0.1), (0.9, 0.5, 1, 0.6)], 2))
)
def test_a_crop_holds_the_face_with_its_margin_and_no_text(boxes):
    crop = crop_without(list(boxes), FACE)
    assert crop is not None
    assert not any(touches(crop, box) for box in boxes)
    wide, high = FACE[2] - FACE[0], FACE[3] - FACE[1]
    assert crop[0] <= FACE[0] - FACE_MARGIN * wide and crop[2] >= FACE[2] + FACE_MARGIN * wide
    assert crop[1] <= FACE[1] - FACE_MARGIN * high and crop[3] >= FACE[3] + FACE_MARGIN * high


def test_the_largest_of_the_possible_crops_is_taken():
    assert crop_without([(0.0, 0.8, 0.1, 0.9)], FACE) == pytest.approx((0.11, 0.0, 1.0, 1.0))


def test_text_over_the_face_or_through_the_middle_cannot_be_cropped_away():
    assert crop_without([(0.3, 0.4, 0.7, 0.45)], FACE) is None
    assert crop_without([(0.0, 0.55, 1.0, 0.6), (0.7, 0.0, 0.75, 1.0)], FACE) is None


def test_without_text_the_whole_picture_stays():
    assert crop_without([], FACE) == (0.0, 0.0, 1.0, 1.0)
