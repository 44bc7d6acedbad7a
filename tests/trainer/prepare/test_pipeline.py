import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock

from engine.contract.errors import UserError
from engine.contract.variants import SPEECH_ENCODERS
from tests.conftest import voice_like
from trainer.__main__ import main
from trainer.data.shards import Shards
from trainer.prepare.pipeline import WORK, Preparation, prepare
from trainer.prepare.settings import PrepareSettings

ROOT = Path(__file__).parents[3]
FLAGS = ["--clip-frames", "17", "--min-frames", "17", "--sync", "off", "--shard-clips", "1", "--min-speech", "0"]
GROUPS = ("audio", "face_motion", "image", "text", "voice")


def settings(nano: Path, **changes) -> PrepareSettings:
    small = {"clip_frames": 17, "min_frames": 17, "sync": "off", "shard_clips": 1, "min_speech": 0.0}
    return PrepareSettings(model=str(nano), **(small | changes))


@pytest.fixture(scope="module")
def videos(small_portrait, write_video, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers that are clean, a smaller copy of the first, and one in the dark."""
    folder = tmp_path_factory.mktemp("videos")
    drifting = [np.roll(small_portrait, shift // 4, axis=1) for shift in range(20)]
    write_video(folder / "a.mp4", drifting, audio=voice_like(0.8))
    write_video(folder / "b.mp4", [frame[:, ::-1] for frame in drifting], audio=voice_like(1.6)[12_000:])
    small = [cv2.resize(frame, (230, 270), interpolation=cv2.INTER_AREA) for frame in drifting]
    write_video(folder / "copy.mp4", small, audio=voice_like(0.8))
    write_video(folder / "dark.mp4", [frame // 6 for frame in drifting], audio=voice_like(1.6)[9_000:])
    return folder


@pytest.fixture(scope="module")
def prepared(videos: Path, nano_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    captions = out.parent / "captions.json"
    captions.write_text('{"a": "happy person talks", "b.mp4": "calm"}')
    result = prepare(Preparation(videos, out, settings(nano_folder, min_side_px=200), captions=captions))
    assert {row["id"].split("#")[0]: row["reason"] for row in result.rows if row["frames"] == 17} == {
        "a.mp4": "",
        "b.mp4": "",
        "copy.mp4": "duplicate",
        "dark.mp4": "dark",
    }
    return out


def bytes_of(out: Path) -> dict[str, bytes]:
    """Everything that a training reads."""
    paths = [path for path in out.rglob("*") if path.is_file() and WORK not in path.parts and path.name != ".lock"]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def again(videos: Path, nano: Path, out: Path, **changes) -> None:
    captions = out.parent / "captions.json"
    prepare(Preparation(videos, out, settings(nano, min_side_px=200, **changes), captions=captions))


def test_shards_hold_every_accepted_clip_with_its_features(prepared: Path):
    shards = Shards(prepared)
    shards.check()
    assert [row["caption"] for row in shards.rows] == ["happy person talks", "calm"]
    assert shards.groups == GROUPS
    clip = shards.clip(0)
    assert clip["face_motion"]["latents"].shape == (16, 5, 8, 8) and clip["face_motion"]["still"].shape == (16, 1, 8, 8)
    assert clip["audio"]["audio"].shape == (17, 8) and clip["voice"]["voice"].shape == (17 * 640,)
    assert clip["text"]["text"].any() and not clip["text"]["text"].equal(shards.clip(1)["text"]["text"])


def test_the_yield_report_counts_every_reason(prepared: Path):
    text = (prepared / "yield.md").read_text()
    for words in ("| light | dark | 1 |", "| duplicates | duplicate | 1 |", "| length | too short | 4 |", "**2**"):
        assert words in text


def test_a_second_run_reads_no_video_and_writes_the_same_bytes(
    videos: Path, nano_folder: Path, prepared: Path, tmp_path
):
    copy = shutil.copytree(prepared.parent, tmp_path / "copy") / "out"
    before, started = bytes_of(copy), time.process_time()
    again(videos, nano_folder, copy)
    assert bytes_of(copy) == before
    assert time.process_time() - started < 2


def test_a_shard_that_was_damaged_and_deleted_is_made_again_as_it_was(videos, nano_folder, prepared: Path, tmp_path):
    copy = shutil.copytree(prepared.parent, tmp_path / "copy") / "out"
    before = bytes_of(copy)
    (copy / "face_motion" / "000001.tar").unlink()
    again(videos, nano_folder, copy)
    assert bytes_of(copy) == before


def test_other_settings_leave_no_shard_of_the_run_before(videos: Path, nano_folder: Path, prepared: Path, tmp_path):
    copy = shutil.copytree(prepared.parent, tmp_path / "copy") / "out"
    again(videos, nano_folder, copy, shard_clips=8)
    assert {path.name for path in copy.glob("*/*.tar")} == {"000000.tar"}
    assert len(Shards(copy)) == 2


def run_of(videos: Path, nano: Path, out: Path, **options) -> subprocess.Popen:
    flags = [*FLAGS, "--min-side-px", "200", "--model", str(nano), "--captions", str(out.parent / "captions.json")]
    command = [sys.executable, "-m", "trainer", "prepare", str(videos), str(out), "--workers", "1", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, **options)


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(
    videos: Path, nano_folder: Path, prepared: Path, tmp_path: Path
):
    shutil.copy(prepared.parent / "captions.json", tmp_path)
    running = run_of(videos, nano_folder, tmp_path / "out")
    for _ in range(600):
        if len(list((tmp_path / "out" / WORK).rglob("*.json"))) >= 5:
            break
        time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "manifest.parquet").exists()
    again(videos, nano_folder, tmp_path / "out")
    assert bytes_of(tmp_path / "out") == bytes_of(prepared)
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_no_room_is_said_in_one_line_and_the_next_run_goes_on(videos, nano_folder, prepared: Path, tmp_path: Path):
    copy = shutil.copytree(prepared.parent, tmp_path / "copy") / "out"
    before = bytes_of(copy)
    shutil.rmtree(copy / "voice")

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    running = run_of(videos, nano_folder, copy, preexec_fn=little_room)
    _, stderr = running.communicate()
    lines = [line for line in stderr.splitlines() if line.startswith("error:")]
    assert running.returncode == 2 and len(lines) == 1 and "There is no room for" in lines[0]
    assert not list(copy.rglob("*.partial"))
    again(videos, nano_folder, copy)
    assert bytes_of(copy) == before


def test_two_runs_do_not_work_in_one_folder(videos: Path, nano_folder: Path, tmp_path: Path):
    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match="Another preparation is at work"):
        prepare(Preparation(videos, tmp_path, settings(nano_folder)))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sync", "syncnet"], "name syncnet_v2.model with --syncnet"),
        (["--sync", "syncnet", "--syncnet", "no.model"], "do not exist"),
        (["--model", "half"], "is not installed"),
        (["--clip-frames", "100"], "--clip-frames must be 4n + 1"),
        (["--min-face", "2"], "--min-face"),
        (["--min-frames", "117"], "--min-frames must be at most 113"),
        (["--clip-frames", "17"], "--min-frames must be at most 17"),
        (["--luma", "25"], "--luma takes two numbers"),
        (["--luma", "230,25"], "--luma must be the darkest"),
        (["--min-sharpness", "inf"], "--min-sharpness"),
        (["--ray", "--gpus", "-1"], "above 0"),
        (["--captions", "no.json"], "do not exist"),
        (["--list-kind", "hdtf"], "--list"),
    ],
)
def test_bad_input_is_said_in_one_line_before_any_work(  # noqa: PLR0917 (fixtures)
    videos: Path, tmp_path: Path, capsys, monkeypatch, flags: list[str], words: str
):
    (tmp_path / "half" / SPEECH_ENCODERS["preview"]).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", str(videos), str(tmp_path / "out"), *flags]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and said.count("\n") == 0
    assert not (tmp_path / "out").exists()
