"""What is written plays whole, in sync and in the right colours, or does not appear at all."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from skimage import data

from engine.contract.errors import Cancelled, UserError
from engine.media.audio import read_audio
from engine.media.video import VideoWriter, check_writable, probe, read_metadata, read_video_frames

RATE_HZ = 16_000
SIZE = (64, 48)
BLACK = np.zeros((48, 64, 3), np.uint8)
LUMA = np.array([0.2126, 0.7152, 0.0722])


def write(path: Path, frames: list[np.ndarray], **options: object) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, (width, height), **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def luma_psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / (((one.astype(float) - other) @ LUMA) ** 2).mean()))


def test_a_static_region_keeps_40_db_while_another_moves(tmp_path: Path) -> None:
    photograph = data.astronaut()
    frames = []
    for index in range(12):
        frame = photograph.copy()
        frame[100:300, 150:300] = np.roll(photograph[100:300, 150:300], 3 * index, axis=0)
        frames.append(frame)
    read = list(read_video_frames(write(tmp_path / "clip.mp4", frames)))
    assert len(read) == 12
    for frame in read:
        assert luma_psnr(frame[:, 330:], photograph[:, 330:]) > 40
        # No cast and no shift in brightness, which a wrong matrix or range tag would give.
        np.testing.assert_allclose(frame[:, 330:].mean((0, 1)), photograph[:, 330:].mean((0, 1)), atol=0.7)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (200, 40, 40), (40, 180, 60), (30, 60, 220)])
def test_flat_colours_come_back(tmp_path: Path, color: tuple[int, int, int]) -> None:
    frame = np.full((48, 64, 3), color, np.uint8)
    (read,) = read_video_frames(write(tmp_path / "flat.mp4", [frame], marked=False))
    assert np.abs(read.astype(int) - frame).max() <= 3
    (read,) = read_video_frames(write(tmp_path / "marked.mp4", [frame]))
    assert np.abs(read.astype(int) - frame).max() <= 10
    # The watermark has no mean; at black and white half of it is cut off.
    assert np.abs(read.mean((0, 1)) - frame.mean((0, 1))).max() <= 1.5


def test_the_file_says_bt709_and_limited_range_and_starts_with_its_index(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", [BLACK] * 5, audio=np.zeros(RATE_HZ, np.float32))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert container.streams.audio[0].codec_context.name == "aac"
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.3])
def test_sound_is_cut_or_padded_to_the_pictures_and_stays_in_sync(tmp_path: Path, seconds: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)
    smooth = np.convolve(noise, np.ones(8) / 8, "same").astype(np.float32)
    path = write(tmp_path / "clip.mp4", [BLACK] * 50, audio=smooth)
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(2.0 * av.time_base, abs=av.time_base / 25)
    sound = read_audio(path)
    assert len(sound) == 2 * RATE_HZ
    common = min(len(smooth), len(sound))
    lags = np.fft.irfft(np.fft.rfft(sound[:common]) * np.conj(np.fft.rfft(smooth[:common])))
    assert np.argmax(lags) == 0
    assert np.abs(sound[common + 1100 :]).max(initial=0) < 1e-3


def test_sound_at_48_khz_keeps_its_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", [BLACK] * 10, audio=np.zeros(48_000, np.float32), sample_rate_hz=48_000)
    assert probe(path).audio_sample_rate_hz == 48_000


def test_long_metadata_survive_whole(tmp_path: Path) -> None:
    record = json.dumps({"prompt": 'Ärger, "quotes"; = \\ and\nlines \u4f60', "steps": list(range(3000))})
    path = write(tmp_path / "clip.mp4", [BLACK], metadata={"echomimic_record": record, "comment": "made here"})
    stored = read_metadata(path)
    assert stored["echomimic_record"] == record
    assert stored["comment"] == "made here"


def test_probe_tells_size_rate_and_length(tmp_path: Path) -> None:
    info = probe(write(tmp_path / "clip.mp4", [BLACK] * 7, fps=Fraction(30000, 1001)))
    assert (info.width_px, info.height_px, info.num_frames, info.audio_sample_rate_hz) == (64, 48, 7, None)
    assert info.fps == pytest.approx(29.97, abs=0.01)
    assert info.duration_s == pytest.approx(7 * 1.001 / 30, abs=1e-3)


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_a_rotated_video_is_read_upright(tmp_path: Path, quarter_turns: int) -> None:
    rows, columns = np.mgrid[0:48, 0:64]
    upright = np.stack([rows * 5, columns * 3, 200 - rows], axis=-1).astype(np.uint8)
    stored = write(tmp_path / "stored.mp4", [np.ascontiguousarray(np.rot90(upright, -quarter_turns))])
    path = tmp_path / "phone.mp4"
    path.write_bytes(with_rotation(stored.read_bytes(), quarter_turns))
    (read,) = read_video_frames(path)
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).mean() < 4
    assert (probe(path).width_px, probe(path).height_px) == (64, 48)


def with_rotation(mp4: bytes, quarter_turns: int) -> bytes:
    """The same mp4 whose track header asks players to turn it counterclockwise: a phone held sideways writes that."""
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns]
    matrix = [cosine << 16, -sine << 16, 0, sine << 16, cosine << 16, 0, 0, 0, 1 << 30]
    data_ = bytearray(mp4)
    at = data_.index(b"tkhd") + 4 + 40  # version 0: the matrix lies 40 bytes behind the box's name
    data_[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    return bytes(data_)


def test_the_asked_name_appears_only_when_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, SIZE) as writer:
        writer.write(BLACK)
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("stop", [Cancelled, KeyboardInterrupt, ZeroDivisionError])
def test_nothing_is_left_and_an_older_file_is_kept_when_work_stops(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"older")
    with pytest.raises(stop), VideoWriter(path, SIZE, audio=np.zeros(RATE_HZ, np.float32)) as writer:
        writer.write(BLACK)
        raise stop
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
    assert path.read_bytes() == b"older"


def test_a_video_without_frames_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frame"), VideoWriter(tmp_path / "clip.mp4", SIZE):
        pass
    assert not list(tmp_path.iterdir())


def test_odd_sizes_and_wrong_frames_are_our_own_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even"):
        VideoWriter(tmp_path / "clip.mp4", (63, 48))
    with pytest.raises(ValueError, match="expected uint8"), VideoWriter(tmp_path / "clip.mp4", SIZE) as writer:
        writer.write(BLACK.astype(np.float32))


def test_outputs_that_cannot_be_written_are_refused_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    for path, reason in {
        tmp_path / "nowhere" / "clip.mp4": "does not exist",
        tmp_path / "file" / "clip.mp4": "does not exist",
        tmp_path / "folder.mp4": "is a folder",
        tmp_path / "clip.avi": "ends in .mp4",
        Path("/proc/clip.mp4"): "cannot be written",  # refused to root, too
    }.items():
        with pytest.raises(UserError, match=reason) as refused:
            check_writable(path)
        assert refused.value.field == "out" and "\n" not in refused.value.message
        with pytest.raises(UserError):
            VideoWriter(path, SIZE)
    check_writable(tmp_path / "clip.mp4")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_files_that_are_no_video_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_text("Dear reader,")
    soundfile.write(tmp_path / "voice.wav", np.zeros(RATE_HZ), RATE_HZ)
    for name in ("letter.mp4", "voice.wav", "nobody.mp4"):
        with pytest.raises(UserError) as refused:
            list(read_video_frames(tmp_path / name, field="video"))
        assert refused.value.field == "video" and name in refused.value.message


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_video_is_refused_not_shortened(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "clip.mp4", [np.roll(data.astronaut(), 5 * step, axis=0) for step in range(30)])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UserError, match=r"truncated|cannot be read"):
        list(read_video_frames(path))
