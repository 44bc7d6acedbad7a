from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engine.media.picture import read_picture
from engine.media.video import VideoWriter
from tests.conftest import voice_like
from trainer.prepare.rows import Row, Workshop, key_of
from trainer.prepare.settings import PrepareSettings

SMALL = (256, 300)
"""Width and height of test videos in pixels."""


@pytest.fixture(scope="session")
def small_portrait(portrait: Path) -> np.ndarray:
    """The portrait, uint8 RGB, of SMALL's size."""
    return cv2.resize(read_picture(portrait), SMALL, interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """write_video(path, frames, fps=25, audio=None, times_s=None): an mp4; returns its path."""

    def write(path: Path, frames: list[np.ndarray], fps: float = 25, audio=None, times_s=None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = frames[0].shape[:2]
        rate = Fraction(fps).limit_denominator(1001)
        with VideoWriter(path, (width, height), rate, audio, times_s=times_s) as writer:
            for frame in frames:
                writer.write(frame)
        return path

    return write


@pytest.fixture(scope="session")
def numbered() -> Callable[[int], list[np.ndarray]]:
    """numbered(n): n grey frames, each with its number in bright and dark blocks, which `number_of` reads."""

    def frames(count: int) -> list[np.ndarray]:
        made = []
        for number in range(count):
            bits = [(number >> bit) & 1 for bit in range(8)]
            column = np.repeat(np.array([[220 if bit else 30] for bit in bits], np.uint8), 8, axis=0)
            made.append(np.repeat(np.repeat(column, 64, axis=1)[:, :, None], 3, axis=2))
        return made

    return frames


def number_of(frame: np.ndarray) -> int:
    """The number that `numbered` wrote into a frame."""
    return sum(int(frame[8 * bit + 4, 32].mean() > 128) << bit for bit in range(8))


@pytest.fixture
def talker(small_portrait: np.ndarray, tmp_path: Path, write_video) -> Path:
    """A folder with one video of two seconds: the portrait, still, and a voice-like sound."""
    write_video(tmp_path / "videos" / "talker.mp4", [small_portrait] * 50, audio=voice_like(2.0))
    return tmp_path / "videos"


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "videos", tmp_path / "work", PrepareSettings(clip_frames=25, min_frames=17, sync="off"))


def row_of(name: str, **fields) -> Row:
    """A row to begin with."""
    return {"id": name, "key": key_of(name), **fields}


def with_late_sound(path: Path, out: Path, delay_s: float) -> Path:
    """The same packets with every time stamp of the sound moved by `delay_s`."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                shift = round(delay_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    return out
