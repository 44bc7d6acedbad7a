"""A video is taken away in the shape of a phone, with captions that are in the picture, as loud as players ask."""

from pathlib import Path

import cv2
import numpy as np
import pyloudnorm
import pytest

from engine.__main__ import main
from engine.contract.errors import FaceNotFound, UserError
from engine.contract.export import Export, checked_export
from engine.media.audio import read_audio
from engine.media.export import export, font_for, levelled
from engine.media.face import find_face
from engine.media.picture import read_picture
from engine.media.video import VideoWriter, probe, read_metadata, read_video_frames
from tests.conftest import RATE_HZ, voice_like

SECONDS = 2.0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    """A face that wanders from the left to the right of a wide grey picture while a quiet voice speaks."""
    picture = cv2.resize(read_picture(portrait), (256, 300), interpolation=cv2.INTER_AREA)
    path = tmp_path_factory.mktemp("video") / "wanders.mp4"
    voice = 0.2 * voice_like(SECONDS)
    with VideoWriter(path, (800, 300), 25, voice, sample_rate_hz=RATE_HZ, metadata={"comment": "kept"}) as writer:
        for place in np.linspace(40, 500, round(SECONDS * 25)).astype(int):
            frame = np.full((300, 800, 3), 128, np.uint8)
            frame[:, place : place + 256] = picture
            writer.write(frame)
    return path


@pytest.mark.parametrize(("shape", "ratio"), [("9:16", 9 / 16), ("1:1", 1.0), ("16:9", 16 / 9)])
def test_the_crop_has_its_shape_and_follows_the_face(video: Path, tmp_path: Path, shape: str, ratio: float):
    (made,) = export(video, tmp_path / "out.mp4", Export(shape=shape))
    info = probe(made)
    assert info.width_px / info.height_px == pytest.approx(ratio, rel=0.01)
    assert min(info.width_px, info.height_px) == 720
    assert info.num_frames == pytest.approx(SECONDS * 25, abs=1) and info.audio_sample_rate_hz
    assert read_metadata(made)["comment"] == "kept"
    frames = list(read_video_frames(made))
    for frame in (frames[2], frames[len(frames) // 2], frames[-3]):
        middle = find_face(frame)[0].landmarks_px[:, 0].mean()
        assert abs(middle / info.width_px - 0.5) < 0.35
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4"]


def test_captions_are_burnt_in_while_they_are_said_and_lie_beside(video: Path, tmp_path: Path):
    wanted = Export(shape="1:1", captions="These words are seen.")
    made, vtt, srt = export(video, tmp_path / "with.mp4", wanted)
    (plain,) = export(video, tmp_path / "without.mp4", wanted.model_copy(update={"captions": ""}))
    (unburnt, *_) = export(video, tmp_path / "beside.mp4", wanted.model_copy(update={"burnt_in": False}))
    differ = [
        np.abs(a.astype(int) - b).mean(2)
        for a, b in zip(read_video_frames(made), read_video_frames(plain), strict=True)
    ]
    changed = np.nonzero((differ[25] > 60).any(1))[0]
    assert len(changed) and changed.min() > 0.7 * len(differ[25])
    assert [path.suffix for path in (vtt, srt)] == [".vtt", ".srt"] and "These words are seen." in srt.read_text()
    for a, b in zip(read_video_frames(unburnt), read_video_frames(plain), strict=True):
        assert np.array_equal(a, b)


def test_a_gif_is_small_and_a_shape_can_stay(video: Path, tmp_path: Path):
    (gif,) = export(video, tmp_path / "out.mp4", Export(shape="9:16", format="gif"))
    assert gif.suffix == ".gif" and gif.read_bytes()[:3] == b"GIF"
    (same,) = export(video, tmp_path / "same.mp4", Export(shape="as it is"))
    assert (probe(same).width_px, probe(same).height_px) == (800, 300)


def test_a_quiet_voice_is_as_loud_as_players_ask(video: Path, tmp_path: Path):
    (made,) = export(video, tmp_path / "loud.mp4", Export(shape="as it is"))
    rate_hz = 48_000
    loud = pyloudnorm.Meter(rate_hz).integrated_loudness(read_audio(made, sample_rate_hz=rate_hz, field="video"))
    assert -18 < loud < -12  # its peaks stay below full scale
    assert np.array_equal(levelled(np.zeros((rate_hz, 1)), rate_hz), np.zeros((rate_hz, 1)))


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"shape": "4:3"}, "shape", "9:16"),
        ({"format": "avi"}, "format", "mp4"),
        ({"captions": "x" * 5001}, "captions", "5000"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_a_wrong_wish_is_said(values: dict[str, str], field: str, words: str):
    with pytest.raises(UserError, match=words) as caught:
        checked_export(values)
    assert caught.value.field == field


def test_captions_nobody_can_read_or_draw_and_a_film_without_a_face_are_said(video: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"more than can be read in 2\.0 s"):
        export(video, tmp_path / "out.mp4", Export(captions="word " * 20))
    with pytest.raises(UserError, match="No font"):
        font_for("\U0010fffd")
    with VideoWriter(tmp_path / "grey.mp4", (320, 240), 25, np.zeros(6400, np.float32)) as writer:
        for _ in range(10):
            writer.write(np.full((240, 320, 3), 128, np.uint8))
    with pytest.raises(FaceNotFound, match="export it as it is"):
        export(tmp_path / "grey.mp4", tmp_path / "out.mp4", Export())
    assert not (tmp_path / "out.mp4").exists()


def test_the_command_line_writes_what_its_name_says(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["export", str(video), "--out", str(tmp_path / "a.mp4"), "--shape", "1:1", "--captions", "Hello"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / f"a.{suffix}") for suffix in ("mp4", "vtt", "srt")]
    for flags, words in (
        (["--shape", "3:1"], "shape '3:1'"),
        (["--burnt-in", "maybe"], "burnt_in 'maybe'"),
    ):
        assert main(["export", str(video), "--out", str(tmp_path / "b.mp4"), *flags]) == 2
        assert words in capsys.readouterr().err
    assert main(["export", str(tmp_path / "gone.mp4"), "--out", str(tmp_path / "b.mp4")]) == 2
    assert main(["export", str(video), "--out", str(tmp_path / "b.avi")]) == 2
    assert capsys.readouterr().err.count("error:") == 2


def test_the_video_itself_is_kept_and_a_silent_one_has_its_captions(video: Path, tmp_path: Path):
    before = video.read_bytes()
    with pytest.raises(UserError, match="is the video itself") as caught:
        export(video, video, Export(shape="as it is"))
    assert caught.value.field == "out" and video.read_bytes() == before
    with VideoWriter(tmp_path / "silent.mp4", (320, 240), 25) as writer:
        for _ in range(50):
            writer.write(np.full((240, 320, 3), 128, np.uint8))
    made, vtt, _ = export(
        tmp_path / "silent.mp4", tmp_path / "out.mp4", Export(shape="as it is", captions="A word. So.")
    )
    assert "A word. So." in vtt.read_text() and probe(made).audio_sample_rate_hz is None
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
