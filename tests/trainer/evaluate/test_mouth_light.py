"""The six numbers of a mouth's inside, on faces whose mouths are painted with known light."""

import cv2
import numpy as np
import pytest

from engine.nano.face_mesh import INNER_LIPS, opening_loop
from trainer.data.faces import mean_face
from trainer.metrics.mouth_light import mouth_light

SKIN = 200


def painted(top: int, low: int, opening_mm: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """A plain face whose opening is `top` in its upper half and `low` in its lower one, and its landmarks."""
    face = mean_face()[:, :2].astype(float)
    face = (face - face.mean(0)) * 300 + 256
    upper, lower = (list(chain) for chain in INNER_LIPS)
    px_per_mm = np.linalg.norm(face[33] - face[263]) / 90
    middle = face[13, 1]
    shape = np.sin(np.linspace(0, np.pi, len(upper)))
    face[upper, 1], face[lower, 1] = middle, middle + shape * opening_mm * px_per_mm
    frame = np.full((512, 512, 3), SKIN, np.uint8)
    mask = np.zeros((512, 512), np.uint8)
    cv2.fillPoly(mask, [np.round(face[opening_loop(INNER_LIPS)]).astype(np.int32)], (1,))
    half = middle + 0.5 * opening_mm * px_per_mm
    rows = np.arange(512)[:, None] < half
    frame[(mask > 0) & rows], frame[(mask > 0) & ~rows] = top, low
    return frame, face


@pytest.mark.parametrize(
    ("top", "low", "expected"),
    [
        (10, 10, {"dark": 1.0, "pale": 0.0, "low_pale": 0.0, "median": 0.05, "p95": 0.05}),
        (190, 190, {"dark": 0.0, "pale": 1.0, "top_pale": 1.0, "median": 0.95, "p95": 0.95}),
        (190, 20, {"top_pale": 1.0, "low_pale": 0.0, "p95": 0.95}),
        (20, 150, {"top_pale": 0.0, "low_pale": 1.0, "p95": 0.75}),
    ],
)
def test_shares_are_those_that_were_painted(top: int, low: int, expected: dict[str, float]):
    frame, face = painted(top, low)
    seen = mouth_light([frame], [face])
    assert seen is not None and seen.frames == 1
    for name, value in expected.items():
        assert getattr(seen, name) == pytest.approx(value, abs=0.08), name


def test_only_open_mouths_count_and_a_turned_face_reads_the_same():
    assert mouth_light([painted(10, 10, 3.0)[0], painted(10, 10)[0]], [painted(10, 10, 3.0)[1], None]) is None
    frame, face = painted(190, 20)
    turn = cv2.getRotationMatrix2D((256, 256), 30, 1.0)
    turned = cv2.warpAffine(frame, turn, (512, 512), borderValue=(SKIN,) * 3)
    upright, tilted = mouth_light([frame], [face]), mouth_light([turned], [face @ turn[:, :2].T + turn[:, 2]])
    assert upright is not None and tilted is not None
    assert tilted.dark == pytest.approx(upright.dark, abs=0.08) and tilted.top_pale == pytest.approx(1.0, abs=0.1)
