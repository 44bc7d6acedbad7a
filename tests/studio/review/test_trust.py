"""What a video says about itself is not believed, and what leaves tells nobody where it was made."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from engine.contract.records import METADATA_KEY, GenerationRecord, read_record, without_places
from engine.contract.request import FILE_FIELDS, build_request
from engine.media.audio import read_audio
from engine.media.video import VideoWriter
from studio.review.clips import sha256_of
from studio.review.desk import NewBatch, ReviewDesk
from studio.review.export import clips_jsonl, label_studio_json, negatives, preferences_csv
from studio.review.queue import upcoming
from studio.service import Studio
from tests.studio.review.small_clips import key
from tests.studio.test_visitors import a_record

HOME = "/srv/somebody"


@pytest.fixture
def desk(studio: Studio) -> Iterator[ReviewDesk]:
    desk = ReviewDesk(studio)
    desk.start()
    yield desk
    desk.close()


def written(folder: Path, voice: Path, hashes: dict[str, str], **media: str) -> Path:
    """A video whose record names `media`, as another machine, or a liar, wrote it."""
    import numpy as np

    request = build_request({"image": "face.png", "audio": "voice.wav", "out": "clip.mp4"})
    request = request.model_copy(update={name: Path(path) for name, path in media.items()})
    sizes = {"width_px": 64, "height_px": 64, "num_frames": 25, "fps": 25.0}
    record = GenerationRecord(request=request, checkpoint_sha256="0" * 64, inputs_sha256=hashes, **sizes)
    folder.mkdir(exist_ok=True)
    path = folder / f"clip-{len(list(folder.glob('*.mp4')))}.mp4"
    metadata = {METADATA_KEY: record.model_dump_json(exclude={"seconds"})}
    with VideoWriter(path, (64, 64), 25, read_audio(voice), metadata=metadata) as writer:
        for index in range(25):
            writer.write(np.full((64, 64, 3), 9 * index, np.uint8))
    return path


def kept(desk: ReviewDesk, folder: Path) -> dict[str, bytes]:
    """The inputs of the one clip in `folder`, as they were taken."""
    _, taken = desk.import_folder(NewBatch("lead"), folder)
    (clip_id,) = taken.clips
    clip = desk.store.clip(clip_id)
    assert clip is not None
    every = [path for path in desk.clips.video_of(clip_id).parent.iterdir() if path.name not in ("clip.mp4",)]
    assert {path.name for path in every} == {entry["name"] for entry in clip.files["inputs"].values()}
    return {
        name: desk.clips.file_of(clip_id, entry["name"]).read_bytes() for name, entry in clip.files["inputs"].items()
    }


def test_a_record_that_names_a_private_file_gets_nothing(desk: ReviewDesk, tmp_path: Path, voice: Path, portrait: Path):
    private = tmp_path / "id_rsa"
    private.write_text("PRIVATE KEY")
    picture = tmp_path / "private.jpg"
    picture.write_bytes(portrait.read_bytes())
    folder = tmp_path / "clips"
    for number, (hashes, named) in enumerate(
        [
            ({}, private),
            ({"image": sha256_of(private)}, private),
            ({"image": sha256_of(picture)}, picture),
            ({"image": sha256_of(picture)}, "../private.jpg"),
            ({"image": sha256_of(picture)}, "..\\private.jpg"),
        ]
    ):
        here = folder.with_name(f"clips-{number}")
        written(here, voice, hashes, image=str(named))
        assert kept(desk, here) == {}


def test_what_lies_beside_is_taken_only_if_it_is_what_the_hash_says_and_reads_as_its_medium(
    desk: ReviewDesk, tmp_path: Path, voice: Path, portrait: Path
):
    text = b"not a picture"
    for number, (content, hashed, is_taken) in enumerate(
        [
            (portrait.read_bytes(), True, True),
            (portrait.read_bytes(), False, False),
            (text, True, False),
        ]
    ):
        folder = tmp_path / f"beside-{number}"
        folder.mkdir()
        (folder / "face.jpg").write_bytes(content)
        hashes = {"image": sha256_of(folder / "face.jpg")} if hashed else {}
        written(folder, voice, hashes, image=f"{HOME}/face.jpg")
        assert kept(desk, folder) == ({"image": content} if is_taken else {})


def test_links_that_lead_elsewhere_are_not_followed(desk: ReviewDesk, tmp_path: Path, voice: Path, portrait: Path):
    picture = tmp_path / "private.jpg"
    picture.write_bytes(portrait.read_bytes())
    folder = tmp_path / "linked"
    video = written(folder, voice, {"image": sha256_of(picture)}, image="private.jpg")
    (folder / "private.jpg").symlink_to(picture)
    video.with_suffix(".safetensors").symlink_to(picture)
    assert kept(desk, folder) == {}
    elsewhere = written(tmp_path / "elsewhere", voice, {}, image="x.jpg")
    (folder / "linked.mp4").symlink_to(elsewhere)
    _, taken = desk.import_folder(NewBatch("lead"), folder)
    assert taken.refused == ["linked.mp4"]


def test_a_clip_is_a_copy_that_its_original_cannot_change(desk: ReviewDesk, tmp_path: Path, voice: Path):
    video = written(tmp_path / "own", voice, {})
    _, taken = desk.import_folder(NewBatch("lead"), tmp_path / "own")
    copy = desk.clips.video_of(taken.clips[0])
    assert copy.stat().st_ino != video.stat().st_ino and copy.stat().st_nlink == 1


@pytest.mark.parametrize("clip", ["0" * 64, "..", "x" * 64])
@pytest.mark.parametrize("name", ["../clip.mp4", "/etc/passwd", "..", "", "a/b", "a\\b"])
def test_a_label_names_no_file_outside_its_clip(desk: ReviewDesk, clip: str, name: str):
    with pytest.raises(UserError):
        desk.clips.file_of(clip, name)


def test_nothing_that_leaves_tells_where_it_was_made(desk: ReviewDesk, tmp_path: Path, voice: Path, portrait: Path):
    folder = tmp_path / "somebodys-home"
    folder.mkdir()
    (folder / "face.jpg").write_bytes(portrait.read_bytes())
    written(folder, voice, {"image": sha256_of(portrait)}, image=f"{HOME}/face.jpg")
    batch, _ = desk.import_folder(NewBatch("lead", "Batch"), folder)
    (item,) = upcoming(desk.store.database, "ada", batch.id)
    desk.store.press("ada", batch.id, key(item.id, "mark", issue="blur"))
    desk.store.press("ada", batch.id, key(item.id, "bad"))
    place = desk.clips.told_place
    told = [
        *(record.model_dump_json() for record in negatives(desk.store, desk.clips, place=place)),
        clips_jsonl(desk.store, desk.clips, place=place),
        label_studio_json(desk.store, desk.clips, place=place),
        preferences_csv(desk.store),
    ]
    assert len(told) == 4 and "face.jpg" in told[0] and f"clips/{item.clip_id}/clip.mp4" in told[1]
    for text in told:
        assert HOME not in text and str(tmp_path) not in text and "/models/" not in text


@pytest.mark.parametrize("path", [f"{HOME}/x/face.jpg", "\\\\server\\somebody\\face.jpg", "../face.jpg", "face.jpg"])
def test_a_record_keeps_names_and_hashes_and_no_places(path: str, portrait: Path, voice: Path):
    request = build_request({"image": portrait, "audio": voice, "out": f"{HOME}/jobs/QxJobId/video.mp4"})
    every = {name: Path(path) for name in FILE_FIELDS}
    record = a_record(request.model_copy(update=every | {"model": f"{HOME}/models/Ada"}))
    told = without_places(record)
    assert all(getattr(told.request, name) == Path("face.jpg") for name in FILE_FIELDS) and told.request.model == "Ada"
    assert "somebody" not in told.model_dump_json() and without_places(told) == told
    assert told.inputs_sha256 == record.inputs_sha256 and told.request.settings == record.request.settings


def test_an_old_video_with_paths_is_still_read(tmp_path: Path, voice: Path):
    video = written(tmp_path / "old", voice, {}, image=f"{HOME}/face.jpg")
    assert read_record(video).request.image == Path(f"{HOME}/face.jpg")


def test_the_records_of_a_new_video_and_of_the_page_have_none(studio: Studio, portrait: Path, voice: Path):
    import asyncio

    from studio.tabs.endpoints import _generate_and_wait

    values = {"image": str(portrait), "audio": str(voice), "seed": 1}
    video, told = asyncio.run(_generate_and_wait(studio, "talking-head", [], ":api-me.1", values))
    for text in (json.dumps(told), read_record(video).model_dump_json()):
        assert (
            str(studio.store.folder) not in text and video.parent.name not in text and str(portrait.parent) not in text
        )
