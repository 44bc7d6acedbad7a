"""The goal "life": bands over clips, what must hold of all of them, and the sheet to look at."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from goals.nano import life
from goals.nano.life import LivedClip, life_rows
from goals.nano.look import FACES, MOUTHS, TILE_PX, TRACKS_PX, LookSheet
from trainer.metrics.liveliness import BANDS, FaceTracks, Liveliness

FRAMES = 150


def clip(name: str, voice: int, yaw: np.ndarray | None = None, **numbers: float) -> LivedClip:
    """A clip in the middle of every band but for `numbers`."""
    middle = {key: (low + high) / 2 for key, (low, high) in BANDS.items()} | {"head_jitter": 0.1} | numbers
    random = np.random.default_rng([voice, len(name)])
    pose = np.cumsum(random.normal(size=(FRAMES, 3)), 0)
    if yaw is not None:
        pose[:, 0] = yaw
    tracks = FaceTracks(np.zeros((FRAMES, 468, 3)), pose, np.zeros((FRAMES, 2)))
    return LivedClip(name, voice, tracks, Liveliness(**middle), 0.1)


def short(clips: list[LivedClip]) -> list[str]:
    return [row.what for row in life_rows(clips) if not row.met]


def test_every_number_has_a_row_and_a_band_bounds_it_on_both_sides():
    assert set(life.TOLD) == set(BANDS)
    for name, (low, high) in BANDS.items():
        for outside in (low - 1, high + 1):
            told = short([clip("a", voice, **{name: outside}) for voice in range(2)])
            assert any(what.startswith(life.TOLD[name]) for what in told), name


def test_one_clip_that_never_blinks_is_enough():
    clips = [clip("a", voice) for voice in range(4)] + [clip("b", 4, blinks_per_min=0.0), clip("b", 5)]
    assert any("without a blink" in what for what in short(clips))


def test_one_dance_for_every_voice_shows():
    dance = np.sin(np.arange(FRAMES) / 9)
    assert any(what.startswith("yaw") for what in short([clip("a", voice, yaw=dance) for voice in range(3)]))
    apart = [np.sin(np.arange(FRAMES) / pace) for pace in (5, 9, 17)]
    told = short([clip("a", voice, yaw=yaw) for voice, yaw in enumerate(apart)])
    assert not any(what.startswith("yaw of") for what in told)


def test_a_background_that_stirs_in_one_clip_shows():
    stirred = [clip("a", 0), clip("a", 1), replace(clip("b", 2), background=2.0), clip("b", 3)]
    assert any("background" in what for what in short(stirred))


def test_the_sheet_has_a_row_for_each_clip(tmp_path, tmp_path_factory, monkeypatch):
    frames = [np.full((64, 64, 3), value, np.uint8) for value in range(20)]
    monkeypatch.setattr("goals.nano.look.read_video_frames", lambda path: iter(frames))
    sheet = LookSheet()
    for name in ("one", "two"):
        sheet.add(name, tmp_path / "video.mp4", clip(name, 0).tracks)
    sheet.write(tmp_path / "look.jpg")
    drawn = cv2.imread(str(tmp_path / "look.jpg"))
    assert drawn.shape == (2 * TILE_PX, (FACES + MOUTHS) * TILE_PX + TRACKS_PX, 3)
    assert drawn[:, -TRACKS_PX:].max() > 200, "what moves is drawn beside frames without a face"


def test_a_sheet_of_nothing_is_not_written(tmp_path):
    LookSheet().write(tmp_path / "look.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 3])
def test_clips_are_told_one_by_one(count):
    clips = [clip("a", voice) for voice in range(count)]
    assert life._details(clips).count("\n| a |") == count
