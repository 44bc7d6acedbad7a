"""A film keeps its own frames and times, meets a voice of any length, and is refused in a sentence when it is bad."""

from pathlib import Path

import av
import numpy as np
import pytest

from engine.contract.errors import FaceNotFound, UserError
from engine.contract.settings import LipSyncSettings
from engine.media.film import Film, filled, plan_film, read_film
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter, read_timed_frames

FACE = np.zeros((468, 3), np.float32)
SIZE = 128


@pytest.fixture(scope="module")
def face(portrait: Path) -> np.ndarray:
    return even_size(read_picture(portrait))[::2, ::2].copy()


def write(path: Path, frames: list[np.ndarray], **options: object) -> Path:
    with VideoWriter(path, (frames[0].shape[1], frames[0].shape[0]), **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def blank(count: int) -> list[np.ndarray]:
    return [np.full((SIZE, SIZE, 3), 90 + index, np.uint8) for index in range(count)]


def film(count: int, fps: float = 30.0) -> Film:
    return Film(Path("film.mp4"), None, np.arange(count) / fps, (FACE,) * count, (SIZE, SIZE))


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_film(path)
    assert caught.value.field == "video" and "\n" not in caught.value.message
    return caught.value.message


def test_a_film_without_faces_is_refused(tmp_path: Path):
    with pytest.raises(FaceNotFound) as caught:
        read_film(write(tmp_path / "blank.mp4", blank(4)))
    assert caught.value.field == "video" and "4 frames" in caught.value.message


def test_a_film_of_one_frame_is_refused(tmp_path: Path, face: np.ndarray):
    assert "1 frame" in refused(write(tmp_path / "one.mp4", [face]))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "avi", "mov"])
def test_a_film_that_is_cut_off_in_the_middle_is_refused(tmp_path: Path, suffix: str):
    path, codec = tmp_path / f"film.{suffix}", {"webm": "libvpx"}.get(suffix, "libx264")
    with av.open(str(path), "w", options={"movflags": "faststart"} if suffix in ("mp4", "mov") else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(75):
            picture = noise.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="truncated") as caught:
        list(read_timed_frames(path))
    assert caught.value.field == "video"


def test_a_film_without_sound_and_with_uneven_times_keeps_its_times(tmp_path: Path, face: np.ndarray):
    times_s = [0.0, 0.04, 0.05, 0.2, 0.24, 0.31]
    read, said = read_film(write(tmp_path / "uneven.mp4", [face] * 5, times_s=times_s))
    np.testing.assert_allclose(read.times_s, times_s[:-1], atol=1e-4)
    assert any("evenly" in notice for notice in said)


def test_frames_without_a_face_are_counted_and_keep_their_place(tmp_path: Path, face: np.ndarray):
    empty = np.full_like(face, 40)
    read, said = read_film(write(tmp_path / "gap.mp4", [face, face, empty, empty, face]))
    assert [points is None for points in read.landmarks_px] == [False, False, True, True, False]
    assert any("2 of 5 frames show no face" in notice for notice in said)
    assert filled(list(read.landmarks_px)).shape == (5, 468, 3)


@pytest.mark.parametrize("voice_s", [0.4, 1.0, 1.02, 2.5, 7.3])
@pytest.mark.parametrize("longer", ["hold", "loop"])
@pytest.mark.parametrize("shorter", ["rest", "cut"])
def test_nothing_is_cut_in_silence(voice_s: float, longer: str, shorter: str):
    source = film(30)
    plan = plan_film(source, voice_s, LipSyncSettings(audio_longer=longer, audio_shorter=shorter))
    if voice_s >= source.duration_s or shorter == "rest":
        assert plan.duration_s >= source.duration_s - 1e-9
    assert plan.duration_s >= voice_s - source.frame_s
    assert plan.duration_s <= max(voice_s, source.duration_s) + source.frame_s
    common = min(30, len(plan.indices))
    assert plan.indices[:common] == list(range(common))
    np.testing.assert_allclose(plan.times_s[:common], source.times_s[:common])
    assert set(np.abs(np.diff(plan.indices)).tolist()) <= {0, 1}, "a film never jumps"


def test_a_loop_swings_to_and_fro_and_a_hold_stays():
    assert plan_film(film(4), 0.4, LipSyncSettings(audio_longer="loop")).indices == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]
    assert plan_film(film(4), 0.3, LipSyncSettings(audio_longer="hold")).indices == [0, 1, 2, 3, 3, 3, 3, 3, 3]


def test_frames_come_in_any_order(tmp_path: Path):
    path = write(tmp_path / "film.mp4", [np.full((SIZE, SIZE, 3), 20 * index, np.uint8) for index in range(10)])
    source = Film(path, None, np.arange(10) / 25, (FACE,) * 10, (SIZE, SIZE))
    indices = [0, 3, 9, 9, 8, 5, 1, 0, 2, 2, 7]
    shown = [round(float(frame.mean()) / 20) for frame in source.frames(indices)]
    assert shown == indices
