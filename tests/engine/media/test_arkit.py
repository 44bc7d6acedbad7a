"""Motion as ARKit's blend shapes: what each estimate answers to, and what the files say."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from engine.__main__ import main
from engine.contract.variants import NANO
from engine.media.arkit import ESTIMATED, SHAPES, TURNS, shapes_of, timecode
from engine.media.video import VideoWriter
from engine.nano.face_motion import _rotation
from engine.nano.model import NanoModel

EYE_PX = 200.0


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    """The mean face, its outer eye corners 200 px apart."""
    face = NanoModel.load(NANO.folder).autoencoder.mean_face.numpy().astype(float)
    return face * EYE_PX / np.linalg.norm(face[33] - face[263])


def moved(rest: np.ndarray, *changes: tuple[tuple[int, ...], tuple[float, float]]) -> dict[str, float]:
    """The second frame's values where points of the first are moved by shares of the eyes' distance."""
    face = rest.copy()
    for points, (right, down) in changes:
        face[list(points), :2] += np.array([right, down]) * EYE_PX
    return {name: float(values[1]) for name, values in shapes_of(np.stack([rest, face])).items()}


def test_the_columns_are_live_link_faces():
    assert (len(SHAPES), len(set(SHAPES)), len(TURNS)) == (52, 52, 9)
    assert SHAPES[:3] == ("EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft") and SHAPES[-1] == "TongueOut"
    assert SHAPES[7] == "EyeBlinkRight" and SHAPES[17] == "JawOpen" and SHAPES.index("BrowInnerUp") == 43
    assert {*SHAPES, *TURNS} > ESTIMATED and len(ESTIMATED & {*SHAPES}) == 25


def test_a_face_at_rest_is_nothing_and_what_is_not_estimated_stays_so(rest):
    random = np.random.default_rng(1)
    noisy = np.stack([rest, rest + random.normal(0, 6, rest.shape)])
    values = shapes_of(noisy)
    assert all(abs(values[name][0]) < 1e-6 for name in values)
    assert not any(values[name].any() for name in values if name not in ESTIMATED)
    assert all((values[name] >= 0).all() and (values[name] <= 1).all() for name in SHAPES)


@pytest.mark.parametrize(
    ("points", "by", "told", "not_told"),
    [
        ((152, 14, 17, 87, 317), (0, 0.15), "JawOpen", "MouthClose"),
        ((291,), (0.03, -0.08), "MouthSmileLeft", "MouthSmileRight"),
        ((61,), (-0.03, -0.08), "MouthSmileRight", "MouthSmileLeft"),
        ((291,), (0, 0.08), "MouthFrownLeft", "MouthSmileLeft"),
        ((336, 334, 300), (0, -0.08), "BrowOuterUpLeft", "BrowOuterUpRight"),
        ((107, 105, 70), (0, 0.08), "BrowDownRight", "BrowDownLeft"),
        ((312,), (0, -0.06), "MouthUpperUpLeft", "MouthUpperUpRight"),
        ((152,), (0.1, 0), "JawLeft", "JawRight"),
    ],
)
def test_a_shape_answers_to_its_own_points(rest, points, by, told, not_told):
    values = moved(rest, (points, by))
    assert values[told] > 0.4 and values[not_told] < 0.05


def test_shut_lids_are_a_blink_of_that_eye(rest):
    face = rest.copy()
    for upper, lower in ((386, 374), (385, 380), (387, 373)):
        face[upper] = face[lower]
    values = shapes_of(np.stack([rest, face]))
    assert values["EyeBlinkLeft"][1] == 1.0 and values["EyeBlinkRight"][1] < 0.01


def test_a_narrow_mouth_is_a_pucker_where_it_is_shut_and_a_funnel_where_it_is_open(rest):
    narrow = (((291,), (-0.12, 0)), ((61,), (0.12, 0)))
    assert moved(rest, *narrow)["MouthPucker"] > 0.4 > moved(rest, *narrow)["MouthFunnel"]
    open_too = moved(rest, *narrow, ((14,), (0, 0.12)))
    assert open_too["MouthFunnel"] > 0.4 > open_too["MouthPucker"]


@pytest.mark.parametrize("turn", [(0.2, 0.0, 0.0), (0.0, 0.15, 0.0), (0.0, 0.0, -0.1), (-0.2, 0.1, 0.05)])
def test_a_turned_head_is_told_in_radians_and_moves_no_shape(rest, turn):
    yaw, pitch, roll = turn
    face = 1.1 * rest @ _rotation(-yaw, pitch, roll).T + [40, -20, 0]
    values = shapes_of(np.stack([rest, face]))
    assert [values[name][1] for name in TURNS[:3]] == pytest.approx(turn, abs=0.01)
    assert max(values[name][1] for name in SHAPES) < 0.02
    # Yaw is to the picture's right, pitch down: the nose's tip goes there.
    nose = face[4] - face[[234, 454]].mean(0) - 1.1 * (rest[4] - rest[[234, 454]].mean(0))
    assert (yaw == 0 or nose[0] * yaw > 0) and (pitch == 0 or roll != 0 or nose[1] * pitch > 0)


@pytest.mark.parametrize(
    ("time_s", "fps", "told"),
    [
        (0, 25, "00:00:00:00.000"),
        (1.2, 25, "00:00:01:05.000"),
        (3661.5, 25, "01:01:01:12.500"),
        (0.99, 25, "00:00:00:24.750"),
    ],
)
def test_timecodes_count_frames_of_a_second(time_s, fps, told):
    assert timecode(time_s, fps) == told


@pytest.fixture(scope="module")
def clip(portrait: Path, tmp_path_factory) -> Path:
    from engine.media.picture import read_picture

    picture = read_picture(portrait)
    picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, (picture.shape[1], picture.shape[0]), 25, np.zeros(3200, np.float32)) as writer:
        for shift in range(5):
            writer.write(np.roll(picture, shift, axis=1))
    return path


def test_csv_and_json_say_the_same_and_are_read_back(clip, tmp_path, capsys):
    for name in ("motion.csv", "motion.json"):
        assert main(["motion", str(clip), "--out", str(tmp_path / name)]) == 0
        assert "5 frames" in capsys.readouterr().out
    with (tmp_path / "motion.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = json.loads((tmp_path / "motion.json").read_text())
    assert list(rows[0]) == ["Timecode", "BlendShapeCount", *SHAPES, *TURNS]
    assert [row["Timecode"] for row in rows] == [f"00:00:00:{frame:02d}.000" for frame in range(5)]
    assert {row["BlendShapeCount"] for row in rows} == {"61"} and set(told["estimated"]) == ESTIMATED
    for name, values in told["values"].items():
        assert [float(row[name]) for row in rows] == values


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("clip", "a.txt", ".csv or .json, not .txt"),
        ("clip", "no/a.csv", "does not exist"),
        ("gone.mp4", "a.csv", "gone.mp4"),
    ],
)
def test_what_cannot_be_written_or_read_is_one_line(clip, tmp_path, capsys, *, source, out, said):
    given = clip if source == "clip" else tmp_path / source
    assert main(["motion", str(given), "--out", str(tmp_path / out)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
