"""The files of a request as the model gets them: sizes, who speaks, and what their owner is told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.contract.errors import UserError
from engine.contract.request import build_request
from engine.media.face import SpeakerChoice, detect_faces, track_face
from engine.media.inputs import Inputs, read_inputs
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter


@pytest.fixture
def read(portrait: Path, voice: Path, tmp_path: Path):
    def inputs(settings: dict[str, object] | None = None, **values: object) -> Inputs:
        given = {"image": portrait, "audio": voice, "out": tmp_path / "out.mp4"} | values
        return read_inputs(build_request({n: v for n, v in given.items() if v is not None}, settings))

    return inputs


def resized(portrait: Path, to: Path, size: tuple[int, int]) -> Path:
    with Image.open(portrait) as image:
        image.convert("RGB").resize(size).save(to)
    return to


def test_a_large_picture_is_drawn_at_1920_px_unless_more_is_asked_for_and_that_is_told(read, portrait, tmp_path):
    large = resized(portrait, tmp_path / "large.png", (1800, 2400))
    inputs = read(image=large)
    assert inputs.portrait.picture.shape[:2] == (1920, 1440)
    assert any("1800×2400 px are drawn at 1440×1920" in notice for notice in inputs.notices)
    whole = read({"longest_side_px": 4000}, image=large)
    assert whole.portrait.picture.shape[:2] == (2400, 1800)
    assert not any("drawn at" in notice for notice in (*whole.notices, *read().notices))


@pytest.mark.parametrize("size", [(300, 300), (640, 360), (400, 900)])
def test_two_pictures_of_any_size_are_brought_to_the_firsts_round_the_face(read, portrait, tmp_path, size):
    with Image.open(portrait) as image:
        picture = image.convert("RGB")
        picture.thumbnail((500, 500))
        canvas = Image.new("RGB", (max(size[0], picture.width), max(size[1], picture.height)), (90, 90, 90))
        canvas.paste(picture, (canvas.width - picture.width, 0))
        canvas.save(tmp_path / "last.png")
    inputs = read(task="first-last-frame", last_image=tmp_path / "last.png")
    first, last = inputs.portrait, inputs.last
    assert last.picture.shape == first.picture.shape
    assert any("cropped round the face" in notice for notice in inputs.notices)
    found = detect_faces(last.picture)[0].landmarks_px
    width = np.ptp(found[:, 0])
    assert np.abs(found[:, :2] - last.face.landmarks_px[:, :2]).mean() < 0.06 * width, "landmarks go with the picture"
    assert 0 <= last.face.box[0] < last.face.box[2] <= 1


def test_two_pictures_of_one_size_are_left_as_they_are(read, portrait):
    inputs = read(task="first-last-frame", last_image=portrait)
    assert np.array_equal(inputs.last.picture, inputs.portrait.picture)
    assert not any("cropped" in notice for notice in inputs.notices)


def test_transparency_and_animations_are_told(read, portrait, tmp_path):
    with Image.open(portrait) as image:
        clear = image.convert("RGBA")
        clear.putpixel((0, 0), (0, 0, 0, 0))
        clear.save(tmp_path / "clear.png")
        image.convert("RGB").save(tmp_path / "many.gif", save_all=True, append_images=[image.convert("RGB").rotate(5)])
    assert any("transparent parts: they are shown on white" in n for n in read(image=tmp_path / "clear.png").notices)
    assert any("2 pictures: the first one" in n for n in read(image=tmp_path / "many.gif").notices)


@pytest.fixture(scope="module")
def two(portrait: Path) -> np.ndarray:
    """A larger face on the left, a smaller one on the right."""
    face = even_size(read_picture(portrait))
    left = np.array(Image.fromarray(face).resize((300, 360)))
    right = np.array(Image.fromarray(face).resize((200, 240)))[:, ::-1]
    both = np.full((360, 520, 3), 120, np.uint8)
    both[:, :300], both[60:300, 310:510] = left, right
    return both


def film(path: Path, frames: list[np.ndarray]) -> Path:
    with VideoWriter(path, (frames[0].shape[1], frames[0].shape[0])) as writer:
        for frame in frames:
            writer.write(frame)
    return path


SMALLER = (0.6, 0.1, 1.0, 0.9)


def test_a_film_with_two_faces_says_so_and_a_box_chooses_who_speaks(read, two, tmp_path):
    path = film(tmp_path / "two.mp4", [two] * 6)
    largest = read(task="lip-sync", image=None, video=path)
    assert any("2 faces found; the largest one speaks" in notice for notice in largest.notices)
    assert all(points[:, 0].mean() < 300 for points in largest.film.landmarks_px)
    chosen = read(task="lip-sync", image=None, video=path, face_box=SMALLER)
    assert all(points[:, 0].mean() > 310 for points in chosen.film.landmarks_px)
    assert not any("faces found" in notice for notice in chosen.notices)
    with pytest.raises(UserError, match=r"No face of two\.mp4 has its middle in the box") as refused:
        read(task="lip-sync", image=None, video=path, face_box=(0.0, 0.95, 0.05, 1.0))
    assert refused.value.field == "face_box"


def test_who_speaks_is_followed_through_a_gap(two):
    empty = np.full_like(two, 120)
    followed = list(track_face([two, two, empty, two, two], SpeakerChoice(SMALLER)))
    assert [None if points is None else bool(points[:, 0].mean() > 310) for points in followed] == [
        True,
        True,
        None,
        True,
        True,
    ]
