"""A film keeps its own frames and times, meets a voice of any length, and is refused in a sentence when it is bad."""

import time
from fractions import Fraction
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


def timed(path: Path, frames: list[np.ndarray], pts_us: list[int]) -> Path:
    """A film whose frames come at `pts_us`, in whatever order and however near."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv444p"
        packets = []
        for frame in frames:
            packets += stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv444p"))
        packets += stream.encode(None)
        for packet, pts in zip(packets, pts_us, strict=True):
            packet.time_base = Fraction(1, 1_000_000)
            packet.pts = packet.dts = pts
            container.mux(packet)
    return path


CLOCKS = {
    "all at once": [0] * 30,
    "1 µs apart": list(range(30)),
    "1000 a second": list(range(0, 30_000, 1000)),
    "hours apart": list(range(0, 30 * 3_600_000_000, 3_600_000_000)),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_film_whose_clock_lies_is_one_clear_line_and_ends(tmp_path: Path, face: np.ndarray, clock: str):
    began_s = time.process_time()
    said = refused(timed(tmp_path / "film.mkv", [face] * 30, CLOCKS[clock]))
    assert any(word in said for word in ("clock", "frames a second", "longer than")), said
    assert time.process_time() - began_s < 10


def test_two_frames_minutes_apart_are_a_film_of_minutes_and_the_last_is_not_held_as_long(tmp_path, face):
    read, _ = read_film(timed(tmp_path / "film.mkv", [face] * 2, [0, 500_000_000]))
    assert read.duration_s == pytest.approx(501, abs=0.01)
    assert len(plan_film(read, 10.0, LipSyncSettings()).indices) == 2
    assert len(plan_film(read, 600.0, LipSyncSettings()).indices) <= 2 + 100


def test_a_single_frame_at_the_time_of_another_is_told_and_kept(tmp_path: Path, face: np.ndarray):
    pts_us = [40_000 * index for index in range(30)]
    pts_us[7] = pts_us[6]
    read, said = read_film(timed(tmp_path / "film.mkv", [face] * 30, pts_us))
    assert len(read.times_s) == 30 and (np.diff(read.times_s) > 0).all()
    assert any("1 of 30 frames had no usable time" in notice for notice in said)


@pytest.mark.parametrize("fps", [15, 25, 60, 120])
def test_films_of_every_common_rate_are_taken(tmp_path: Path, face: np.ndarray, fps: int):
    read, _ = read_film(write(tmp_path / "film.mp4", [face] * 12, fps=fps))
    assert read.frame_s == pytest.approx(1 / fps, rel=0.02)


ASPECTS = [(Fraction(64, 45), 1.4222), (Fraction(8, 9), 0.8889), (Fraction(100), 1)]


@pytest.mark.parametrize(("aspect", "width"), ASPECTS)
def test_pixels_that_are_not_square_are_shown_as_they_are_meant_and_that_is_told(tmp_path, face, aspect, width):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = face.shape[1], face.shape[0], "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(face, format="rgb24")))
        container.mux(stream.encode(None))
    read, said = read_film(path)
    assert read.shape == (face.shape[0], pytest.approx(face.shape[1] * width, abs=1.5))
    assert any("not square" in notice for notice in said) == (width != 1)


def test_hdr_and_interlacing_are_told(tmp_path: Path, face: np.ndarray):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "interlaced=1:tff=1"})
        stream.width, stream.height, stream.pix_fmt = face.shape[1], face.shape[0] // 4 * 4, "yuv420p"
        stream.codec_context.color_trc = 16
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(face[: stream.height].copy(), format="rgb24")))
        container.mux(stream.encode(None))
    _, said = read_film(path)
    assert any("HDR (PQ)" in notice for notice in said)
    assert any("interlaced" in notice for notice in said)


def test_a_film_that_changes_its_size_is_refused_with_both_sizes(tmp_path: Path, face: np.ndarray):
    one, other = tmp_path / "one.ts", tmp_path / "other.ts"
    height, width = face.shape[0] // 4 * 2, face.shape[1] // 4 * 2
    for path, picture in ((one, face), (other, face[:height, :width].copy())):
        with av.open(str(path), "w", format="mpegts") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "yuv420p"
            for _ in range(5):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + other.read_bytes())
    assert "changes its size" in refused(both)
