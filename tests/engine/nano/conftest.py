"""Two free portraits and their FaceMesh landmarks: a closed mouth with glasses, and a toothy smile."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from PIL import Image


@dataclass(frozen=True)
class Portrait:
    picture: np.ndarray
    landmarks_px: np.ndarray

    @property
    def size_px(self) -> tuple[int, int]:
        height, width = self.picture.shape[:2]
        return width, height


@pytest.fixture(scope="session")
def find_landmarks() -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """Picture → landmarks float32 [468, 3] in pixels."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    with FaceMesh(static_image_mode=True, max_num_faces=1, min_detection_confidence=0.3) as mesh:

        def find(picture: np.ndarray) -> np.ndarray:
            height, width = picture.shape[:2]
            faces = mesh.process(picture).multi_face_landmarks
            assert faces, "FaceMesh sees no face"
            return np.array([[p.x * width, p.y * height, p.z * width] for p in faces[0].landmark], np.float32)

        yield find


@pytest.fixture(scope="session")
def hopper(find_landmarks) -> Portrait:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        picture = np.array(Image.open(file).convert("RGB"))
    return Portrait(picture, find_landmarks(picture))


@pytest.fixture(scope="session")
def astronaut(find_landmarks) -> Portrait:
    picture = skimage.data.astronaut()
    return Portrait(picture, find_landmarks(picture))


@pytest.fixture(params=["hopper", "astronaut"])
def portrait(request) -> Portrait:
    return request.getfixturevalue(request.param)
