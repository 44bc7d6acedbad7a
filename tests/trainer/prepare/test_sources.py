import json
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from trainer.prepare.sources import caption_of, find_videos, read_captions, read_list

EMTD = "URL,Start Timecode,End Timecode\nhttps://www.youtube.com/watch?v=NBMTc71yrpk,00:00:54.596,00:01:01.561\n"


def videos(folder: Path, *names: str) -> list:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return find_videos(folder)


def hdtf(folder: Path) -> Path:
    (folder / "RD_annotion_time.txt").write_text("Radio11.mp4 00:30-01:00 01:30-02:30\nRadio1.mp4 00:20-01:35\n")
    (folder / "RD_crop_wh.txt").write_text("Radio11_0.mp4 412 599 0 599\nRadio11_1.mp4 557 478 0 478\n")
    (folder / "RD_resolution.txt").write_text("Radio11.mp4 720\nRadio1.mp4 720\n")
    return folder


def test_a_folder_gives_its_videos_by_their_paths_below_it(tmp_path: Path):
    rows = videos(tmp_path, "b.mp4", "deep/er/a.MOV", "notes.txt", ".hidden.mp4")
    assert [row["id"] for row in rows] == ["b.mp4", "deep/er/a.MOV"]
    assert len({row["key"] for row in rows}) == 2


def test_a_video_that_is_replaced_under_its_name_is_another(tmp_path: Path):
    (before,) = videos(tmp_path, "a.mp4")
    (tmp_path / "a.mp4").write_bytes(b"another")
    (after,) = find_videos(tmp_path)
    assert before["key"] == after["key"] and before["content"] != after["content"]
    assert find_videos(tmp_path) == [after]


def test_a_folder_without_videos_or_none_at_all_is_said(tmp_path: Path):
    with pytest.raises(UserError, match="No video is in"):
        find_videos(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        find_videos(tmp_path / "no")


def test_hdtf_gives_every_moment_of_a_video_with_its_crop(tmp_path: Path):
    found = videos(tmp_path, "Radio11.mp4")
    rows, missing = read_list("hdtf", hdtf(tmp_path), found)
    assert missing == ["Radio1"]
    assert [row["id"] for row in rows] == ["Radio11.mp4@0", "Radio11.mp4@1"]
    assert rows[0]["span_s"] == [30.0, 60.0] and rows[1]["span_s"] == [90.0, 150.0]
    assert rows[0]["crop_px"] == [412, 0, 599, 599] and rows[0]["crop_of_height_px"] == 720
    assert {row["file"] for row in rows} == {"Radio11.mp4"}


def test_echomimicv2_names_a_video_by_its_address(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_text(EMTD)
    rows, missing = read_list("echomimicv2", path, videos(tmp_path, "NBMTc71yrpk.mp4"))
    assert missing == []
    assert rows[0]["span_s"] == pytest.approx([54.596, 61.561])


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("echomimicv2", "URL,From\nx,1\n", "lacks the column"),
        ("echomimicv2", EMTD + "https://example.org/film,0:01,0:02\n", "names no video"),
        ("echomimicv2", EMTD.replace("00:00:54.596", "soon"), "'soon' is not a number"),
        ("echomimicv2", EMTD.replace("NBMTc71yrpk", "NBMTc71yrpX"), "None of the 1 videos"),
        ("hdtf", "", "give the folder HDTF_dataset"),
    ],
)
def test_a_list_that_makes_no_sense_is_said(tmp_path: Path, kind, text: str, message: str):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_list(kind, path, videos(tmp_path, "NBMTc71yrpk.mp4"))


@pytest.mark.parametrize("kind", ["hdtf", "echomimicv2"])
def test_a_list_that_cannot_be_read_is_said(tmp_path: Path, kind):
    binary = tmp_path / "x_annotion_time.txt"
    binary.write_bytes(b"\xff\xfe\x84")
    wrong_kind = tmp_path if kind == "echomimicv2" else binary
    for path, said in ((None, "name it with --list"), (wrong_kind, "list"), (tmp_path / "no", "does not exist")):
        with pytest.raises(UserError, match=said):
            read_list(kind, path, videos(tmp_path, "NBMTc71yrpk.mp4"))
    with pytest.raises(UserError, match="it is not text"):
        read_list(kind, binary if kind == "echomimicv2" else tmp_path, videos(tmp_path, "NBMTc71yrpk.mp4"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", json.dumps({"a.mp4": "calm"})),
        ("c.jsonl", json.dumps({"video": "a", "caption": "calm"}) + "\n\n"),
        ("c.csv", "video,caption\ndeep/a.mp4,calm\n"),
    ],
)
def test_captions_come_in_three_shapes_and_by_three_names(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    captions = read_captions(tmp_path / name)
    assert caption_of({"id": "deep/a.mp4#000113", "file": "deep/a.mp4"}, captions) == "calm"
    assert caption_of({"id": "b.mp4"}, captions) == ""


@pytest.mark.parametrize(("name", "text"), [("c.json", "[1]"), ("c.jsonl", "{}"), ("c.csv", "video\na\n")])
def test_captions_that_cannot_be_read_are_said(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=name):
        read_captions(tmp_path / name)
