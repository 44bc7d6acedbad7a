"""Lip-sync, first-last-frame and a stretch made anew, from files to a file, with a nano model of random weights."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from engine.__main__ import main
from engine.contract.errors import Cancelled, UserError
from engine.contract.request import GenerationRequest, build_request
from engine.media.inputs import read_inputs
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter, probe, read_video_frames
from engine.nano.animator import NanoAnimator
from engine.pipeline import LATENTS_KEY
from engine.session import Session
from tests.tiny_nano import tiny_nano

FILM_FRAMES = 7


@pytest.fixture(scope="module")
def session(nano_folder: Path) -> Session:
    return Session()


@pytest.fixture(scope="module")
def small(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait at half its size."""
    path = tmp_path_factory.mktemp("small") / "small.png"
    Image.open(portrait).resize((256, 300)).save(path)
    return path


@pytest.fixture(scope="module")
def film(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 30 frames per second without sound; its third frame shows no face."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    picture = even_size(read_picture(small))
    with VideoWriter(path, (picture.shape[1], picture.shape[0]), 30) as writer:
        for index in range(FILM_FRAMES):
            writer.write(np.full_like(picture, 60) if index == 2 else picture)
    return path


@pytest.fixture
def ask(nano_folder: Path, voice: Path, tmp_path: Path):
    def request(**changes: object) -> GenerationRequest:
        values = {"audio": voice, "out": tmp_path / "out.mp4", "model": str(nano_folder), "seed": 0}
        return build_request(values | changes, {"sampling.steps": 2, "lip_sync.audio_longer": "loop"})

    return request


def test_a_film_without_sound_gets_lips_and_keeps_what_has_no_face(session: Session, ask, film: Path):
    record = session.generate(ask(task="lip-sync", video=film))
    assert any("1 of 7 frames show no face" in notice for notice in record.notices)
    assert any("lasts 1.3 s, the film 0.2 s" in notice for notice in record.notices)
    made = probe(record.request.out)
    assert made.fps == pytest.approx(30, abs=0.2) and made.audio_sample_rate_hz == 48_000
    assert made.num_frames == record.num_frames == round(1.3 * 30)
    shown = list(read_video_frames(record.request.out))
    assert abs(float(shown[2].mean()) - 60) < 2


def test_lip_sync_leaves_every_pixel_outside_the_region_as_it_was(ask, film: Path, voice: Path):
    from engine.media.lip_region import feathered, lip_box
    from engine.sampling.tasks import to_latent_frames

    animator = NanoAnimator(tiny_nano())
    request = ask(task="lip-sync", video=film).model_copy(update={"audio": voice})
    inputs = read_inputs(request)
    known = animator.encode(inputs, request).known
    assert known.shape[2] == to_latent_frames(1 + 4 * -(-inputs.num_frames // 4))
    assert inputs.film is not None and inputs.plan is not None
    changed = 0
    for index, frame, source in zip(
        inputs.plan.indices,
        animator.frames(known[:, 4:] * 2, inputs, request),
        inputs.film.frames(inputs.plan.indices),
        strict=True,
    ):
        landmarks_px = inputs.film.landmarks_px[index]
        outside = np.ones(frame.shape[:2], bool)
        if landmarks_px is not None:
            (rows, columns), _ = feathered(lip_box(landmarks_px, inputs.film.shape), inputs.film.shape)
            outside[rows, columns] = False
        assert np.array_equal(frame[outside], source[outside])
        changed += not np.array_equal(frame, source)
        if index == FILM_FRAMES - 1:
            break
    assert changed


def test_first_and_last_pictures_of_different_people_are_said(ask, small: Path, tmp_path: Path):
    # A skull that is a third broader: the hint is a rough one, and misses many pairs of real people.
    Image.open(small).resize((340, 300)).crop((42, 0, 298, 300)).save(tmp_path / "other.png")
    inputs = read_inputs(ask(task="first-last-frame", image=small, last_image=tmp_path / "other.png"))
    said = [notice for notice in inputs.notices if "different people" in notice]
    read = read_inputs(ask(task="first-last-frame", image=small, last_image=small))
    assert said and not [notice for notice in read.notices if "different people" in notice]


def test_a_video_ends_exactly_on_the_last_picture(ask, small: Path):
    animator = NanoAnimator(tiny_nano())
    request = ask(task="first-last-frame", image=small, last_image=small)
    inputs = read_inputs(request)
    known = animator.encode(inputs, request).known
    assert known[0, :4, 0].min() == 1 and known[0, :4, 1:-1].max() == 0
    # 32 frames are generated as 33, so that the last two are the last picture.
    assert inputs.num_frames == 32 and known[0, :4, -1].amax(dim=(1, 2)).tolist() == [0, 0, 1, 1]
    frames = list(animator.frames(known[:, 4:], inputs, request))
    assert len(frames) == inputs.num_frames
    assert inputs.last is not None and np.array_equal(frames[-1], inputs.last.picture)


def test_a_stretch_is_made_anew_and_the_rest_of_the_latents_stays(session: Session, ask, small: Path, tmp_path: Path):
    kept, again = tmp_path / "kept.safetensors", tmp_path / "again.safetensors"
    session.generate(ask(image=small), keep_latents=kept)
    redone = ask(image=small, seed=5, redo_latents=kept, redo_span_s="0.3,0.6")
    record = session.generate(redone, keep_latents=again)
    assert set(record.inputs_sha256) == {"image", "audio", "redo_latents"}
    before, after = (load_file(path)[LATENTS_KEY] for path in (kept, again))
    changed = ((before - after).abs().amax(dim=(0, 1, 3, 4)) > 0).nonzero().flatten().tolist()
    assert changed == [2, 3, 4]


@pytest.mark.parametrize(
    ("latents", "span", "field"), [("text", "0.1,0.2", "redo_latents"), ("kept", "7,8", "redo_span_s")]
)
def test_a_stretch_that_cannot_be_made_anew_is_refused(
    session: Session, ask, small: Path, *, tmp_path: Path, latents: str, span: str, field: str
):
    kept = tmp_path / "kept.safetensors"
    if latents == "text":
        kept.write_text("no latents")
    else:
        session.generate(ask(image=small), keep_latents=kept)
    with pytest.raises(UserError) as caught:
        session.generate(ask(image=small, redo_latents=kept, redo_span_s=span))
    assert caught.value.field == field and "\n" not in caught.value.message


def test_the_public_codes_negative_guidance_says_that_it_is_on_purpose(session: Session, ask, small: Path):
    request = ask(image=small)
    chosen = request.settings.model_copy(update={"png": request.settings.png.model_copy(update={"mode": "reference"})})
    record = session.generate(request.model_copy(update={"settings": chosen}))
    assert any("3.375" in notice for notice in record.notices)


def test_a_long_clip_goes_on_after_a_kill(session: Session, ask, small: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("engine.pipeline.RESUMED_FROM_S", 1.0)
    folder, heard = tmp_path / "state", []

    def stop(progress) -> None:
        if progress.stage == "sampling" and progress.done >= 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        session.generate(ask(image=small), stop, resume_folder=folder)
    assert list(folder.iterdir()), "the state of a clip that was stopped stays"
    session.generate(ask(image=small), heard.append, resume_folder=folder)
    assert min(report.done for report in heard if report.stage == "sampling") >= 1
    assert not folder.exists()


def test_nano_says_what_text_to_video_needs(voice: Path, tmp_path: Path, capsys):
    flags = ["--task", "text-to-video", "--prompt", "a person", "--audio", str(voice), "--out", str(tmp_path / "o.mp4")]
    assert main(["generate", *flags]) == 2
    said = capsys.readouterr().err
    assert "preview or flash" in said and said.count("\n") == 1
