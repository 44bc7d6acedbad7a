"""Every file says that it is synthetic, by three marks, and is not written where it cannot."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.contract.errors import UserError
from engine.contract.export import Export
from engine.media.export import export
from engine.media.marking.verify import CHANGED, UNMARKED, WHOLE, verify
from engine.media.marking.watermark import THRESHOLD, find, mark_rgb
from engine.media.video import VideoWriter, read_metadata, read_video_frames


@pytest.fixture(scope="module")
def pictures(portrait: Path) -> list[np.ndarray]:
    """Eight frames of one photograph, 512 px, each a little different."""
    photograph = cv2.cvtColor(cv2.imread(str(portrait)), cv2.COLOR_BGR2RGB)[:512, :512]
    noise = np.random.default_rng(0).normal(0, 2, (8, *photograph.shape))
    return [np.clip(photograph + one, 0, 255).astype(np.uint8) for one in noise]


def written(path: Path, pictures: list[np.ndarray], **options) -> Path:
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, (width, height), **options) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def test_a_written_video_is_whole_and_one_flipped_bit_is_seen(tmp_path: Path, pictures):
    sound = np.zeros(5120, np.float32)
    video = written(tmp_path / "made.mp4", pictures, audio=sound, metadata={"comment": '{"seed": 1}'})
    verdict = verify(video)
    assert verdict.code == WHOLE and verdict.watermark.found
    assert verdict.manifest.software.startswith("EchoMimic Studio") and verdict.manifest.when
    assert verdict.manifest.source_type == "trainedAlgorithmicMedia"
    assert json.loads(verdict.aigc)["Label"] == "1"
    assert read_metadata(video)["comment"] == '{"seed": 1}'
    assert [path.name for path in tmp_path.iterdir()] == ["made.mp4"]
    data = bytearray(video.read_bytes())
    data[len(data) // 2] ^= 1
    video.write_bytes(data)
    assert verify(video).code == CHANGED


def test_the_watermark_survives_what_strips_the_manifest(tmp_path: Path, pictures):
    video = written(tmp_path / "made.mp4", pictures)
    frames = [cv2.resize(frame, (384, 384)) for frame in read_video_frames(video)]
    again = verify(written(tmp_path / "again.mp4", frames, marked=False))
    assert (again.code, again.manifest.state) == (CHANGED, "none")
    assert again.watermark.scale == pytest.approx(0.75, abs=0.01)
    cut = [np.ascontiguousarray(frame[26:486, 30:490]) for frame in read_video_frames(video)]
    assert find(cut).found


def test_what_is_not_ours_is_not_found(tmp_path: Path, pictures):
    verdict = verify(written(tmp_path / "foreign.mp4", pictures, marked=False))
    assert verdict.code == UNMARKED and verdict.watermark.z < THRESHOLD


def test_the_watermark_is_fainter_than_40_db(pictures):
    luma = [cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(float) for one in (pictures[0], mark_rgb(pictures[0]))]
    assert 10 * np.log10(255**2 / np.mean((luma[0] - luma[1]) ** 2)) > 44


def test_the_same_frames_are_the_same_pictures(tmp_path: Path, pictures):
    one, other = (written(tmp_path / f"{name}.mp4", pictures) for name in ("one", "other"))
    for left, right in zip(read_video_frames(one), read_video_frames(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_an_export_is_marked_also_of_a_video_that_was_not(tmp_path: Path, pictures, kind):
    video = written(tmp_path / "foreign.mp4", pictures, marked=False)
    (out,) = export(video, tmp_path / f"out.{kind}", Export(shape="as it is", format=kind))
    verdict = verify(out)
    assert verdict.code == WHOLE and verdict.watermark.found
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["foreign.mp4", out.name])


def test_a_file_that_cannot_be_signed_is_not_written(tmp_path: Path, pictures, monkeypatch):
    video = written(tmp_path / "made.mp4", pictures)
    for name in ("CHAIN", "KEY"):
        (tmp_path / name).write_text("no certificate")
        monkeypatch.setenv(f"ECHOMIMIC_SIGNING_{name}", str(tmp_path / name))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="cannot be signed"):
        written(tmp_path / "other.mp4", pictures)
    with pytest.raises(UserError, match="cannot be signed"):
        export(video, tmp_path / "out.gif", Export(shape="as it is", format="gif"))
    assert sorted(tmp_path.iterdir()) == before
    monkeypatch.delenv("ECHOMIMIC_SIGNING_KEY")
    with pytest.raises(UserError, match="both"):
        written(tmp_path / "other.mp4", pictures)


def test_the_key_is_private(tmp_path: Path, pictures, monkeypatch):
    monkeypatch.setenv("ECHOMIMIC_SIGNING_FOLDER", str(tmp_path / "new" / "signing"))
    written(tmp_path / "made.mp4", pictures)
    assert (tmp_path / "new/signing").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new/signing/key.pem").stat().st_mode & 0o777 == 0o600


def test_only_off_turns_it_off(tmp_path: Path, pictures, monkeypatch):
    monkeypatch.setenv("ECHOMIMIC_MARKING", "no")
    with pytest.raises(UserError, match="on or off"):
        written(tmp_path / "made.mp4", pictures)
    monkeypatch.setenv("ECHOMIMIC_MARKING", "off")
    assert verify(written(tmp_path / "made.mp4", pictures)).code == UNMARKED


@pytest.mark.parametrize("name", ["none.mp4", "text.mp4", "text.gif"])
def test_the_command_refuses_what_is_no_video_in_one_line(tmp_path: Path, name):
    if name.startswith("text"):
        (tmp_path / name).write_text("hello")
    done = subprocess.run(
        [sys.executable, "-m", "engine", "verify", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
