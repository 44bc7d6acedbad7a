from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import voice_like
from tests.trainer.prepare.conftest import row_of
from trainer.prepare.rows import Workshop, work_on
from trainer.prepare.settings import PrepareSettings
from trainer.prepare.video_stages import VIDEO_STAGES, clips_of

SOUND = voice_like(2.0)


def scene(seed: int, count: int) -> list[np.ndarray]:
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    return [np.kron(blocks, np.ones((34, 34, 1), np.uint8))] * count


@pytest.fixture
def two_scenes(tmp_path: Path, write_video) -> Path:
    return write_video(tmp_path / "videos" / "two.mp4", scene(0, 30) + scene(1, 20), audio=SOUND)


def test_a_cut_ends_a_shot_at_its_very_frame(two_scenes: Path, workshop: Workshop):
    row = work_on(row_of("two.mp4"), VIDEO_STAGES, workshop)
    assert row["status"] == "accepted" and row["shots"] == [[0, 30], [30, 50]]


def test_a_cut_rejects_the_video_where_that_is_asked_for(two_scenes: Path, workshop: Workshop):
    dropping = replace(workshop, settings=PrepareSettings(cuts="drop"))
    row = work_on(row_of("two.mp4"), VIDEO_STAGES, dropping)
    assert row["reason"] == "cut" and "frame 30" in row["detail"]


def test_a_listed_moment_is_cut_out_and_its_cuts_alone_count(two_scenes: Path, workshop: Workshop):
    row = work_on(row_of("two.mp4@0", file="two.mp4", span_s=[0.4, 1.0]), VIDEO_STAGES, workshop)
    assert row["shots"] == [[10, 25]]
    outside = work_on(row_of("two.mp4@1", file="two.mp4", span_s=[3.0, 4.0]), VIDEO_STAGES, workshop)
    assert outside["reason"] == "outside the video"


def test_a_listed_crop_is_scaled_to_the_size_of_the_file(tmp_path: Path, write_video, workshop: Workshop):
    write_video(tmp_path / "videos" / "a.mp4", [np.zeros((640, 800, 3), np.uint8)] * 5, audio=SOUND)
    row = row_of("a.mp4", crop_px=[200, 100, 800, 1000], crop_of_height_px=1280)
    row = work_on(row, VIDEO_STAGES[:1], workshop)
    assert row["crop"] == pytest.approx([100 / 800, 50 / 640, 500 / 800, 550 / 640])
    assert (row["width_px"], row["height_px"]) == (400, 500)


@pytest.mark.parametrize(
    ("reason", "fps", "side", "audio"),
    [("no sound", 25, 272, None), ("low frame rate", 12, 272, SOUND), ("small picture", 25, 128, SOUND)],
)
def test_what_is_no_use_is_rejected_by_its_header(tmp_path: Path, write_video, workshop, reason, fps, side, audio):  # noqa: PLR0917 (fixtures)
    write_video(tmp_path / "videos" / "a.mp4", [np.zeros((side, side, 3), np.uint8)] * 9, fps, audio)
    assert work_on(row_of("a.mp4"), VIDEO_STAGES, workshop)["reason"] == reason


def test_a_damaged_file_is_rejected_and_says_why(two_scenes: Path, workshop: Workshop):
    two_scenes.write_bytes(two_scenes.read_bytes()[:-2000])
    row = work_on(row_of("two.mp4"), VIDEO_STAGES, workshop)
    assert row["reason"] == "unreadable" and "two.mp4" in row["detail"]


@pytest.mark.parametrize("length", range(1, 120, 7))
def test_clips_cover_a_shot_in_pieces_that_fold_into_latents(length: int):
    video = {"id": "a.mp4", "key": "0", "shots": [[5, 5 + length]], "status": "accepted", "stamp": "s"}
    clips = clips_of(video, 33, 17)
    assert clips[0]["start_frame"] == 5
    for clip, after in pairwise(clips):
        assert clip["frames"] == 33 and after["start_frame"] == clip["start_frame"] + 33
    last = clips[-1]
    uncovered = 5 + length - last["start_frame"] - last["frames"]
    assert 0 <= uncovered <= 3 and (last["frames"] < 17 or last["frames"] % 4 == 1)
    assert len({clip["key"] for clip in clips}) == len(clips)
