from pathlib import Path

import numpy as np
import pytest

from engine.contract.variants import FPS
from engine.media.video import read_timed_frames
from tests.trainer.prepare.conftest import number_of, row_of, with_late_sound
from trainer.prepare.clip import at_constant_rate, clip_frames, clip_voice
from trainer.prepare.rows import Workshop, work_on
from trainer.prepare.video_stages import VIDEO_STAGES

DECODE = [stage for stage in VIDEO_STAGES if stage.name == "decode"]


@pytest.mark.parametrize("fps", [12.0, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0])
def test_every_grid_point_shows_the_frame_of_its_middle(fps: float):
    frames = round(4 * fps)
    timed = ((index / fps, np.array([index])) for index in range(frames))
    shown = [int(frame[0]) for frame in at_constant_rate(timed, 0.0)]
    assert len(shown) == 100
    assert shown == [min(frames - 1, int((grid + 0.5) / FPS * fps + 1e-6)) for grid in range(100)]


def test_uneven_times_are_evened_out():
    times = [0.0, 0.04, 0.4, 0.44, 0.48]
    shown = [int(frame[0]) for frame in at_constant_rate(((t, np.array([i])) for i, t in enumerate(times)), 0.0)]
    assert shown == [0] + [1] * 9 + [2, 3, 4]


@pytest.mark.parametrize("fps", [25, 30])
@pytest.mark.parametrize("start", [0, 1, 37, 90])
def test_a_window_of_a_video_is_the_same_slice_of_the_whole(  # noqa: PLR0917 (fixtures)
    tmp_path: Path, write_video, numbered, workshop: Workshop, fps: int, start: int
):
    path = write_video(tmp_path / "videos" / "film.mp4", numbered(round(4 * fps)), fps)
    whole = [number_of(frame) for frame in at_constant_rate(read_timed_frames(path), 0.0)]
    row = row_of("film.mp4", start_frame=start, frames=9, picture_start_s=0.0)
    assert [number_of(frame) for frame in clip_frames(row, workshop)] == whole[start : start + 9]


def test_a_crop_is_cut_out(tmp_path: Path, write_video, numbered, workshop: Workshop):
    write_video(tmp_path / "videos" / "film.mp4", numbered(9))
    row = row_of("film.mp4", start_frame=0, frames=1, picture_start_s=0.0, crop=[0.0, 0.5, 0.25, 1.0])
    [frame] = clip_frames(row, workshop)
    assert frame.shape == (32, 16, 3)


@pytest.mark.parametrize("delay_s", [0.0, 0.4, -0.0])
def test_sound_that_begins_later_than_the_pictures_is_heard_later(
    tmp_path: Path, write_video, numbered, workshop: Workshop, delay_s: float
):
    beep = np.zeros(32_000, np.float32)
    beep[8_000:8_640] = 0.8 * np.sin(np.arange(640) * 0.4)
    path = write_video(tmp_path / "film.mp4", numbered(50), audio=beep)
    (tmp_path / "videos").mkdir()
    with_late_sound(path, tmp_path / "videos" / "film.mp4", delay_s)
    row = work_on(row_of("film.mp4"), DECODE, workshop) | {"start_frame": 0}
    wave = clip_voice(row | {"frames": row["video_frames"]}, workshop)
    first = int(np.flatnonzero(np.abs(wave) > 0.2)[0])
    assert first / 16_000 == pytest.approx(0.5 + delay_s, abs=0.02)


def test_the_voice_of_a_later_clip_is_that_part_of_the_sound(tmp_path: Path, write_video, numbered, workshop: Workshop):
    wave = (np.arange(32_000) / 40_000).astype(np.float32) * np.sin(np.arange(32_000) * 0.3).astype(np.float32)
    write_video(tmp_path / "videos" / "film.mp4", numbered(50), audio=wave)
    row = work_on(row_of("film.mp4"), DECODE, workshop)
    whole = clip_voice(row | {"start_frame": 0, "frames": 50}, workshop)
    part = clip_voice(row | {"start_frame": 20, "frames": 10}, workshop)
    assert np.array_equal(part, whole[20 * 640 : 30 * 640])
