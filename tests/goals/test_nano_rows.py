from dataclasses import replace

import numpy as np
import pytest

from goals.goal import Row
from goals.nano.report import clips_markdown
from goals.nano.rows import ClipMeasurement, TimedRun, clip_rows, silence_opening, studio_row, time_row
from trainer.metrics.lag_correlation import LagCorrelation
from trainer.metrics.mouth_light import MouthLight

GOOD_LIPS = LagCorrelation(r=0.6, lag_frames=1, p=0.01, null_95=0.4, shifts=101, frames=130)
GOOD = ClipMeasurement(
    portrait="01",
    speech="one",
    seed=1,
    audio_frames=162,
    video_frames=162,
    sound_frames=162,
    mesh_lip_r=GOOD_LIPS,
    coverage=1.0,
    rest_aperture=0.01,
    silence_opening=0.05,
    inside=MouthLight(dark=0.1, pale=0.5, top_pale=0.5, low_pale=0.7, median=0.6, p95=0.95, frames=20),
    psnr_db=45.0,
    sharpness=0.95,
    worst_sharpness=0.9,
)
TWELVE = [replace(GOOD, portrait=f"{i // 2}", speech=("one", "two")[i % 2]) for i in range(12)]
GOOD_RUNS = (TimedRun(1.1, 0.9), TimedRun(0.8, 0.9))


def rows_of(clips=TWELVE) -> list[Row]:
    return clip_rows(clips)


def short(rows: list[Row]) -> list[str]:
    return [row.what for row in rows if not row.met]


def with_one(**changes) -> list[ClipMeasurement]:
    return [replace(TWELVE[0], **changes), *TWELVE[1:]]


def test_twelve_good_clips_meet_every_goal():
    assert short(rows_of()) == []


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"video_frames": 164}, "jobs that end"),
        ({"sound_frames": None}, "jobs that end"),
        ({"silence_opening": 0.16}, "lips in silence"),
        ({"silence_opening": None}, "lips in silence"),
        ({"psnr_db": 39.9}, "luma PSNR"),
        ({"sharpness": 0.79}, "sharpness"),
    ],
)
def test_one_bad_clip_of_twelve_makes_its_row_short_and_no_other(changes, row):
    names = short(rows_of(with_one(**changes)))
    assert len(names) == 1 and names[0].startswith(row)


def test_a_clip_whose_lips_could_not_be_measured_makes_its_rows_short():
    names = short(rows_of(with_one(mesh_lip_r=None)))
    assert names == [f"`proxy/mesh_lip_r`: median {which}" for which in ("r of all", "r of one", "lag")]


def test_one_frame_more_or_less_is_as_long_as_the_voice():
    assert short(rows_of(with_one(video_frames=161, sound_frames=163))) == []


def test_a_speech_clip_below_its_null_is_short_however_good_the_other_is():
    clips = [replace(c, mesh_lip_r=replace(GOOD_LIPS, null_95=0.65)) if c.speech == "two" else c for c in TWELVE]
    assert short(rows_of(clips)) == ["`proxy/mesh_lip_r`: median r of two"]


def test_one_insignificant_clip_is_allowed_and_two_are_not():
    weak = replace(GOOD_LIPS, p=0.2)
    assert short(rows_of(with_one(mesh_lip_r=weak))) == []
    two = [replace(clip, mesh_lip_r=weak) if i < 2 else clip for i, clip in enumerate(TWELVE)]
    assert short(rows_of(two)) == ["`proxy/mesh_lip_r`: clips with p < 0.05"]


def test_a_mouth_open_at_rest_is_reported_apart():
    rows = rows_of(with_one(rest_aperture=0.2, silence_opening=0.9))
    assert short(rows) == []
    assert any("reported apart" in row.what and "90.0%" in row.measured for row in rows)


def test_what_was_not_measured_is_short():
    assert not time_row(()).met and not studio_row((4.0, None)).met


def test_the_fastest_run_and_the_slowest_start_count():
    assert time_row(GOOD_RUNS).met and not time_row((TimedRun(1.1, 0.9), TimedRun(1.01, 0.9))).met
    assert studio_row((5.0, 6.0)).met and not studio_row((5.0, 10.1)).met


def test_silence_opening_is_zero_at_rest_and_one_at_speech():
    aperture = np.concatenate([np.tile([0.02, 0.12], 50), np.full(50, 0.02)])
    voiced = np.arange(150) < 100
    assert silence_opening(aperture, voiced, 37) == pytest.approx(0.0)
    aperture[100:] = 0.07
    assert silence_opening(aperture, voiced, 37) == pytest.approx(1.0)
    aperture[120:130] = np.nan
    assert silence_opening(aperture, voiced, 37) == pytest.approx(1.0)


def test_every_clip_is_a_line_and_failed_jobs_are_named():
    page = clips_markdown(with_one(video_frames=None, error="OSError: disk full"), machine="2 cores")
    assert "OSError: disk full" in page
    table_widths = {line.count("|") for line in page.splitlines() if line.startswith("| 0 ") or line.startswith("| 5 ")}
    assert len(table_widths) == 1


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({"dark": 0.4}, "a fifth"),
        ({"pale": 0.9}, "above .55"),
        ({"low_pale": 0.2}, "lower third"),
        ({"p95": 1.3}, "95th"),
    ],
)
def test_a_hole_and_a_mouth_full_of_enamel_are_both_short(changes: dict[str, float], short: str):
    assert GOOD.inside is not None
    clips = [replace(GOOD, inside=replace(GOOD.inside, **changes)) for _ in range(12)]
    assert [short in row.what for row in rows_of(clips) if not row.met] == [True]
    unmeasured = [row for row in rows_of([replace(GOOD, inside=None)] * 12) if not row.met]
    assert len(unmeasured) == 1 and unmeasured[0].measured == "not measured"
