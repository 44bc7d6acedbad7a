"""A request is checked down to its files before it becomes a job."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.contract.errors import FaceNotFound, UserError
from engine.contract.motion_edit import MotionEdit
from studio.examples import find_examples, label_of
from studio.job_rows import Job
from studio.service import Limits, Studio


@pytest.fixture
def good(portrait: Path, voice: Path) -> dict[str, Any]:
    return {"task": "talking-head", "image": str(portrait), "audio": str(voice), "prompt": "", "seed": 1}


def test_a_good_request_is_queued_with_the_settings_given(studio: Studio, good: dict[str, Any]):
    job = studio.submit("me", good, {"sampling.steps": 3, "guidance.audio": 2.5})
    kept = studio.store.request_of(job)
    assert (kept.settings.sampling.steps, kept.settings.guidance.audio) == (3, 2.5)
    assert kept.model == "nano"


@pytest.mark.parametrize(
    ("changes", "settings", "field"),
    [
        ({"image": None}, {}, "image"),
        ({"audio": None}, {}, "audio"),
        ({"image": "nowhere.jpg"}, {}, "image"),
        ({"audio": "nowhere.wav"}, {}, "audio"),
        ({"seed": -1}, {}, "seed"),
        ({"seed": 2**31}, {}, "seed"),
        ({"prompt": "x" * 2001}, {}, "prompt"),
        ({}, {"sampling.steps": 0}, "sampling.steps"),
        ({}, {"sampling.solver": "magic"}, "sampling.solver"),
        ({}, {"phda.audio.low": 900.0, "phda.audio.high": 100.0}, "phda.audio"),
    ],
)
def test_a_bad_value_is_said_beside_its_field_and_makes_no_job(
    studio: Studio, good: dict[str, Any], changes: dict[str, Any], settings: dict[str, Any], field: str
):
    with pytest.raises(UserError) as caught:
        studio.submit("me", good | changes, settings)
    assert caught.value.field == field
    assert studio.store.recent("me") == []


def test_a_picture_without_a_face_makes_no_job(studio: Studio, good: dict[str, Any], tmp_path: Path):
    Image.new("RGB", (128, 128), "grey").save(tmp_path / "wall.png")
    with pytest.raises(FaceNotFound):
        studio.submit("me", good | {"image": tmp_path / "wall.png"})


def finished(studio: Studio, job: Job) -> Job:
    deadline_s = time.monotonic() + 30
    while job.unfinished and time.monotonic() < deadline_s:
        time.sleep(0.02)
        job = studio.store.find(job.id, job.owner) or job
    assert job.state == "done", job.error
    return job


def test_the_limit_is_for_what_is_new(studio: Studio, good: dict[str, Any]):
    limited = replace(studio, limits=Limits(jobs_per_visitor=1))
    studio.worker.stop()  # what is queued stays
    asked = limited.check(good)
    job = limited.queue("me", asked, once="click")
    assert limited.queue("me", asked, once="click").id == job.id
    for once in (None, "another click"):
        with pytest.raises(UserError, match="1 jobs waiting already"):
            limited.queue("me", asked, once=once)
    changed = limited.queue("me", asked, instead_of=job.id)
    assert [one.id for one in studio.store.pending("me")] == [changed.id]


def test_a_stretch_of_a_video_is_made_anew_from_its_latents(studio: Studio, good: dict[str, Any]):
    job = finished(studio, studio.submit("me", good, {"sampling.steps": 2}))
    length_s = job.record["num_frames"] / job.record["fps"]
    for span_s in ((None, 0.5), (0.5, 0.2), (0.0, 0.0), (-1.0, 0.5), (length_s, 99.0)):
        with pytest.raises(UserError, match=r"the video lasts .* s") as caught:
            studio.redo("me", job.id, span_s)
        assert caught.value.field == "redo_span_s"
    with pytest.raises(UserError, match="not kept"):
        studio.redo("you", job.id, (0.2, 0.5))

    again = finished(studio, studio.redo("me", job.id, (0.2, 99.0)))
    asked, made = (studio.store.request_of(one) for one in (job, again))
    assert made.redo_span_s == (0.2, length_s) and made.seed != asked.seed
    assert made.redo_latents.parent == studio.store.folder_of(again.id) and made.redo_latents.is_file()
    assert (made.settings, made.prompt, made.task) == (asked.settings, asked.prompt, asked.task)
    assert made.image.name == asked.image.name and made.out.stem.rpartition("-")[0] == asked.out.stem.rpartition("-")[0]

    values = {name: getattr(made, name) for name in ("task", "model", "image", "audio")}
    same = studio.check(values | studio.stretch_of("me", again.id, values))
    assert (same.redo_latents, same.redo_span_s) == (made.redo_latents, made.redo_span_s)
    studio.stretch_of("me", again.id, values | {"image": good["image"]})  # another copy of the same picture
    for whose, of, changes, words in (
        ("me", again, {"image": good["audio"]}, "with the picture of its video"),
        ("me", again, {"video": good["image"]}, "with the film of its video"),
        ("me", again, {"model": "flash"}, "with the model of its video"),
        ("you", again, {}, "was deleted"),
        ("me", job, {}, "was deleted"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            studio.stretch_of(whose, of.id, values | changes)
        assert caught.value.field == "stretch"

    studio.store.delete(job.id, "me")
    assert studio.store.latents_of(job) is None and studio.store.latents_of(again) is not None
    once = {studio.redo("me", again.id, (0.0, 0.2), once="click").id for _ in range(2)}
    assert len(once) == 1


def test_examples_are_what_lies_in_the_folder(tmp_path: Path):
    for name in ("2_voice.wav", "1_a-portrait.jpg", "notes.md", "3_voice.mp3"):
        (tmp_path / name).touch()
    found = find_examples(tmp_path)
    assert [path.name for path in found.portraits] == ["1_a-portrait.jpg"]
    assert [path.name for path in found.voices] == ["2_voice.wav", "3_voice.mp3"]
    assert label_of(found.portraits[0]) == "A portrait"
    assert find_examples(tmp_path / "missing").portraits == ()


def test_a_batch_is_queued_whole_or_not_at_all(studio: Studio, good: dict[str, Any]):
    limited = replace(studio, limits=Limits(jobs_per_visitor=3))
    studio.worker.stop()  # what is queued stays
    asked = [limited.check(good | {"seed": seed}) for seed in range(4)]
    with pytest.raises(UserError, match=r"4 jobs; you may have 3 waiting, and 0 are"):
        limited.queue_all("me", asked)
    assert limited.store.count("me") == 0
    jobs = limited.queue_all("me", asked[:3], once="click")
    assert [job.request["seed"] for job in jobs] == [0, 1, 2]
    assert limited.queue_all("me", asked[:3], once="click") == jobs
    changed = limited.queue_all("me", asked[:1], instead_of=jobs[1].id)
    assert [job.request["seed"] for job in limited.store.pending("me")] == [0, 0, 2] and len(changed) == 1
    with pytest.raises(UserError, match="2 jobs; you may have 3 waiting, and 3 are"):
        limited.queue_all("me", asked[:2], instead_of=jobs[0].id)


def test_one_file_that_cannot_be_read_queues_none(studio: Studio, good: dict[str, Any], tmp_path: Path):
    asked = [studio.check(good), studio.check(good | {"image": shutil.copy(good["image"], tmp_path / "copy.jpg")})]
    (tmp_path / "copy.jpg").unlink()
    before = set(studio.store.files.iterdir())
    with pytest.raises(UserError, match=r"copy\.jpg cannot be read"):
        studio.queue_all("me", asked)
    assert studio.store.recent("me") == [] and set(studio.store.files.iterdir()) == before


def test_a_change_says_from_which_step_it_counts(studio: Studio, good: dict[str, Any]):
    studio.worker.stop()
    live = studio.worker.live
    job = studio.submit("me", good)
    assert studio.tune("me", job.id, studio.variant.default_settings.live) is None, "it waits"
    claimed = studio.store.claim_next()
    assert claimed is not None
    live.begin(job.id, studio.variant.default_settings.live, 2)
    assert [studio.tune("me", job.id, live.take(job.id, step)) for step in range(2)] == [2, 0]
    assert studio.tune("somebody else", job.id, studio.variant.default_settings.live) is None
    live.end(job.id)
    assert studio.tune("me", job.id, studio.variant.default_settings.live) is None


def test_a_finished_nano_video_is_drawn_again_with_its_motion_edited(studio: Studio, good: dict[str, Any]):
    job = finished(studio, studio.submit("me", good, {"sampling.steps": 2}))
    edit = MotionEdit(head=50, blink_at_s=(0.4,))
    again = finished(studio, studio.redraw("me", job.id, edit))
    asked, made = (studio.store.request_of(one) for one in (job, again))
    assert (made.motion, made.redo_span_s, made.only_draws) == (edit, None, True)
    assert (made.seed, made.settings, made.prompt) == (asked.seed, asked.settings, asked.prompt)
    assert made.redo_latents.parent == studio.store.folder_of(again.id) and made.redo_latents.is_file()
    assert again.record["request"]["motion"]["head"] == 50
    with pytest.raises(UserError, match=r"asked for at 99 s, the clip lasts"):
        studio.redraw("me", job.id, MotionEdit(blink_at_s=(99.0,)))
    with pytest.raises(UserError, match="Only a finished nano video"):
        studio.redraw("you", job.id, edit)
    studio.store.latents_of(job).unlink()
    with pytest.raises(UserError, match="Only a finished nano video") as caught:
        studio.redraw("me", job.id, edit)
    assert caught.value.field == "motion" and not studio.can_redraw(job)
