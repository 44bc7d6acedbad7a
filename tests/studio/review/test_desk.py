"""From videos to labels to what leaves: folders, jobs, candidates, pairs, exports that the trainer reads."""

import csv
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from engine.contract.request import build_request
from studio.review.dataset_push import build_dataset
from studio.review.desk import Candidates, NewBatch, ReviewDesk
from studio.review.export import label_studio_tasks, negatives, preferences_csv
from studio.review.queue import upcoming
from studio.service import Studio
from tests.studio.review.small_clips import key
from tests.studio.small_engine import SmallEngine

PATIENCE_S = 60.0


@pytest.fixture
def desk(studio: Studio) -> Iterator[ReviewDesk]:
    desk = ReviewDesk(studio)
    desk.start()
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, portrait: Path, voice: Path) -> Path:
    """Three videos with latents, and one without; what they were made from beside them."""
    folder = tmp_path_factory.mktemp("clips")
    portrait, voice = (Path(shutil.copy(path, folder)) for path in (portrait, voice))
    for seed in range(4):
        values = {"image": portrait, "audio": voice, "seed": seed, "out": folder / f"clip-{seed}.mp4"}
        latents = folder / f"clip-{seed}.safetensors" if seed else None
        request = build_request(values, {"sampling.steps": 1})
        SmallEngine().generate(request, lambda progress: None, keep_latents=latents)
    return folder


def until(true) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def label_all(desk: ReviewDesk, batch_id: int, issue: str = "jitter") -> list[int]:
    """Mark everything but the first item, which is good."""
    answered: list[int] = []
    while items := upcoming(desk.store.database, "ada", batch_id):
        if answered:
            mark = {"severity": 3, "span_s": [0.2, 0.4], "region": [0.1, 0.2, 0.5, 0.6]}
            desk.store.press("ada", batch_id, key(items[0].id, "mark", issue=issue, mark=mark))
        desk.store.press("ada", batch_id, key(items[0].id, "bad" if answered else "good"))
        answered.append(items[0].id)
    return answered


def test_a_folder_becomes_a_batch_with_its_own_copies(desk: ReviewDesk, folder: Path):
    batch, taken = desk.import_folder(NewBatch("lead", stage="S1"), folder)
    assert (batch.title, len(taken.clips), taken.without_latents) == (folder.name, 4, 1)
    assert all(desk.clips.video_of(clip_id).is_file() for clip_id in taken.clips)
    assert len(label_all(desk, batch.id)) == 4


def test_what_is_no_video_of_ours_is_named(desk: ReviewDesk, folder: Path, tmp_path: Path):
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "clip.mp4").write_bytes((folder / "clip-1.mp4").read_bytes())
    (tmp_path / "mixed" / "other.mp4").write_bytes(b"no video")
    _, taken = desk.import_folder(NewBatch("lead"), tmp_path / "mixed")
    assert taken.refused == ["other.mp4"]
    (tmp_path / "mixed" / "clip.mp4").unlink()
    with pytest.raises(UserError, match="None of the 1"):
        desk.import_folder(NewBatch("lead"), tmp_path / "mixed")


@pytest.mark.parametrize("asked", ["no-such-folder", "."])
def test_a_folder_without_videos_is_refused(desk: ReviewDesk, asked: str, tmp_path: Path):
    before = len(desk.store.batches())
    with pytest.raises(UserError, match="choose another"):
        desk.import_folder(NewBatch("lead"), tmp_path / asked)
    assert len(desk.store.batches()) == before


def test_gold_answers_come_with_the_folder(desk: ReviewDesk, folder: Path):
    gold = folder / "gold.csv"
    gold.write_text("clip,verdict,issues\nclip-1.mp4,bad,blur hands\n")
    try:
        batch, _ = desk.import_folder(NewBatch("lead"), folder)
        items = upcoming(desk.store.database, "ada", batch.id, 4)
        assert [item.gold for item in items if item.gold] == [{"verdict": "bad", "issues": ["blur", "hands"]}]
        gold.write_text("clip,verdict,issues\nclip-1.mp4,bad,\n")
        with pytest.raises(UserError, match="line 2"):
            desk.import_folder(NewBatch("lead"), folder)
    finally:
        gold.unlink()


def test_candidates_are_made_and_come_into_the_batch(desk: ReviewDesk, portrait: Path, voice: Path):
    wanted = Candidates([portrait], [voice], ["calm", "happy"], seeds=2)
    batch = desk.generate(NewBatch("lead", stage="S2"), ":owner", "nano", wanted)
    until(lambda: desk.collector.waiting(batch.id) == 0)
    assert len(label_all(desk, batch.id)) == 4
    records = list(negatives(desk.store, desk.clips, batch.id))
    assert {record.request.prompt for record in records} == {"calm", "happy"}
    assert all(record.latents and record.latents.path.is_file() for record in records)
    assert all(record.stage == "S2" and record.annotator == "ada" for record in records)
    assert all(record.inputs["image"].path.read_bytes() == portrait.read_bytes() for record in records)


def test_finished_videos_become_a_batch(desk: ReviewDesk, portrait: Path, voice: Path):
    values = {"image": portrait, "audio": voice, "prompt": "happy", "seed": 3}
    job = desk.studio.submit(":owner", values, {"sampling.steps": 1})
    until(lambda: desk.studio.store.find_any(job.id).state == "done")
    batch, taken = desk.import_jobs(NewBatch("lead"), ":owner", "happy")
    assert len(taken.clips) == 1 and batch.title == "happy"
    for owner, words in ((":owner", "sad"), (":stranger", "happy")):
        with pytest.raises(UserError, match="matches"):
            desk.import_jobs(NewBatch("lead"), owner, words)


def test_two_models_become_blind_pairs(desk: ReviewDesk, portrait: Path, voice: Path, nano_folder: Path):
    wanted = Candidates([portrait], [voice], [], seeds=2)
    batch = desk.compare(NewBatch("lead"), ":owner", ("nano", str(nano_folder)), wanted)
    until(lambda: desk.collector.waiting(batch.id) == 0)
    until(lambda: len(upcoming(desk.store.database, "ada", batch.id)) == 2)
    items = upcoming(desk.store.database, "ada", batch.id)
    for item in items:
        first, second = desk.store.clip(item.clip_id), desk.store.clip(item.other_clip_id)
        assert first.record["request"]["seed"] == second.record["request"]["seed"]
        assert (first.record["request"]["model"], second.record["request"]["model"]) == ("nano", str(nano_folder))
        desk.store.press("ada", batch.id, key(item.id, "prefer", choice="tie"))
    lines = list(csv.DictReader(io.StringIO(preferences_csv(desk.store, batch.id))))
    assert [line["preferred"] for line in lines] == ["tie", "tie"]
    assert {line["side_b"] for line in lines} == {nano_folder.name}


def test_too_many_or_no_candidates_are_refused(desk: ReviewDesk, portrait: Path, voice: Path):
    asked = [([], [voice], 1), ([portrait], [], 1), ([portrait], [voice], 501), ([portrait], [voice], 0)]
    for images, voices, seeds in asked:
        with pytest.raises(UserError):
            desk.generate(NewBatch("lead"), ":owner", "nano", Candidates(images, voices, [], seeds))
    assert not desk.store.batches()


def test_the_trainer_reads_what_is_exported_unchanged(desk: ReviewDesk, folder: Path, tmp_path: Path):
    from trainer.subjects.labels import read_labels

    batch, _ = desk.import_folder(NewBatch("lead"), folder)
    label_all(desk, batch.id)
    path = tmp_path / "labels.jsonl"
    records = list(negatives(desk.store, desk.clips, batch.id))
    path.write_text("".join(f"{record.model_dump_json()}\n" for record in records))
    assert sorted(record.verdict for record in records) == ["bad", "bad", "bad", "good"]
    bad = read_labels(path)
    assert len(bad) == 3
    assert all(record.issues[0].frames == (5, 10) and record.issues[0].severity == 3 for record in bad)
    assert len(list(negatives(desk.store, desk.clips, batch.id, issue="jitter"))) == 3
    assert not list(negatives(desk.store, desk.clips, batch.id, issue="blur"))


def test_label_studio_gets_a_task_a_clip(desk: ReviewDesk, folder: Path):
    batch, _ = desk.import_folder(NewBatch("lead"), folder)
    label_all(desk, batch.id)
    tasks = json.loads(json.dumps(label_studio_tasks(desk.store, desk.clips, batch.id)))
    assert len(tasks) == 4
    results = [result for task in tasks for result in task["annotations"][0]["result"]]
    spans = [result["value"]["ranges"] for result in results if result["type"] == "timelinelabels"]
    assert spans == [[{"start": 6, "end": 10}]] * 3
    rectangles = [result["value"]["sequence"][0] for result in results if result["type"] == "videorectangle"]
    assert {(round(box["x"]), round(box["width"])) for box in rectangles} == {(10, 40)}


def test_a_dataset_is_complete_in_itself(desk: ReviewDesk, folder: Path, tmp_path: Path):
    from trainer.subjects.labels import read_labels

    batch, _ = desk.import_folder(NewBatch("lead"), folder)
    with pytest.raises(UserError, match="no labels"):
        build_dataset(tmp_path, desk.store, desk.clips, batch.id)
    label_all(desk, batch.id)
    assert build_dataset(tmp_path, desk.store, desk.clips, batch.id) == 4
    for record in read_labels(tmp_path / "labels.jsonl"):
        files = [*record.inputs.values(), *([record.latents] if record.latents else [])]
        assert files and all((tmp_path / file.path).is_file() and not file.path.is_absolute() for file in files)
        assert str(tmp_path.parent) not in record.model_dump_json()
