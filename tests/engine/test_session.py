"""One job from files to file, through every real part, with a nano model of random weights."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from engine.contract.errors import Cancelled, FaceNotFound, UserError
from engine.contract.progress import STAGES, Progress
from engine.contract.records import GenerationRecord, read_record, without_places
from engine.contract.request import GenerationRequest, build_request
from engine.media.face import find_face
from engine.media.inputs import SILENCE_NOTICE, SOUNDTRACK_RATE_HZ
from engine.media.picture import read_picture
from engine.media.video import probe, read_video_frames
from engine.session import Session
from tests.conftest import RATE_HZ


@pytest.fixture(scope="module")
def session(nano_folder: Path) -> Session:
    session = Session()
    session.warm_up(str(nano_folder))
    return session


@pytest.fixture
def ask(nano_folder: Path, portrait: Path, voice: Path, tmp_path: Path):
    def request(**changes: object) -> GenerationRequest:
        values = {"image": portrait, "audio": voice, "out": tmp_path / "out.mp4", "model": str(nano_folder), "seed": 0}
        return build_request(values | changes, {"sampling.steps": 2})

    return request


@pytest.fixture(scope="module")
def job(session: Session, nano_folder: Path, portrait: Path, voice: Path, tmp_path_factory: pytest.TempPathFactory):
    """A finished job: its record and the reports on the way."""
    out = tmp_path_factory.mktemp("job") / "out.mp4"
    request = build_request(
        {
            "image": portrait,
            "audio": voice,
            "out": out,
            "model": str(nano_folder),
            "prompt": "a calm person flies",
            "seed": 0,
        },
        {"sampling.steps": 3},
    )
    reports: list[Progress] = []
    return session.generate(request, reports.append), reports


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(read_video_frames(path)))


def test_the_video_is_as_long_as_the_sound_and_as_large_as_the_picture(
    job: tuple[GenerationRecord, list], portrait: Path, voice: Path
):
    record, _ = job
    video, sound = probe(record.request.out), soundfile.info(voice)
    assert video.num_frames == record.num_frames
    assert abs(video.num_frames - sound.duration * 25) <= 1
    assert (video.width_px, video.height_px, video.fps) == (*Image.open(portrait).size, 25)
    assert video.audio_sample_rate_hz == SOUNDTRACK_RATE_HZ


def test_the_file_carries_its_record(job: tuple[GenerationRecord, list]):
    record, _ = job
    assert read_record(record.request.out) == without_places(record).model_copy(update={"seconds": {}, "drift": ()})
    assert record.request.settings.sampling.steps == 3
    assert set(record.seconds) == {"reading", "loading", "encoding", "sampling", "decoding", "writing"}


def test_the_watcher_hears_every_stage_in_order_and_sees_a_preview(job: tuple[GenerationRecord, list]):
    _, reports = job
    stages = list(dict.fromkeys(report.stage for report in reports))
    assert stages == ["reading", "loading", "encoding", "sampling", "decoding", "writing", "done"]
    assert set(stages) == set(STAGES)
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    previews = [report.preview for report in reports if report.preview]
    assert previews and all(report.stage == "sampling" for report in reports if report.preview)
    picture = Image.open(io.BytesIO(previews[0]))
    assert (picture.format, picture.n_frames) == ("WEBP", 7)
    assert 64 <= picture.width <= 256


def test_words_that_the_model_does_not_know_are_said(job: tuple[GenerationRecord, list]):
    record, _ = job
    (notice,) = record.notices
    assert "flies" in notice and "calm" not in notice


def test_the_face_moves_and_the_background_does_not(job: tuple[GenerationRecord, list]):
    record, _ = job
    frames = frames_of(record.request.out).astype(np.float32)
    changes = np.abs(np.diff(frames, axis=0)).mean(axis=(0, 3))
    height, width = changes.shape
    x0, y0, x1, y1 = (round(edge * size) for edge, size in zip(record.face_box, (width, height) * 2, strict=True))
    assert changes[y0:y1, x0:x1].mean() > 0.5
    # Shoulders breathe; what is behind them stands still but for the compression.
    assert max(changes[:20, :100].mean(), changes[:20, -100:].mean()) < 0.3


def test_the_same_request_gives_the_same_frames_and_another_seed_others(session: Session, ask, tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        session.generate(ask(seed=seed, out=tmp_path / f"{name}.mp4"))
    first, again, other = (frames_of(tmp_path / f"{name}.mp4") for name in "abc")
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("stage", ["reading", "encoding", "sampling", "decoding", "writing"])
def test_a_job_that_is_stopped_leaves_the_folder_as_it_was(session: Session, ask, tmp_path: Path, stage: str):
    (tmp_path / "out.mp4").write_bytes(b"an older video")

    def stop(progress: Progress) -> None:
        if progress.stage == stage and progress.done == progress.total // 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        session.generate(ask(), stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"an older video"


def test_odd_sides_become_even_and_it_is_said(session: Session, ask, portrait: Path, tmp_path: Path):
    Image.open(portrait).crop((0, 0, 511, 599)).save(tmp_path / "odd.png")
    record = session.generate(ask(image=tmp_path / "odd.png"))
    assert (record.width_px, record.height_px) == (512, 600)
    assert any("511×599" in notice and "512×600" in notice for notice in record.notices)


def test_silent_audio_is_said(session: Session, ask, tmp_path: Path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    record = session.generate(ask(audio=tmp_path / "silence.wav"))
    assert record.notices == (SILENCE_NOTICE,)
    assert record.num_frames == 25


def test_of_two_faces_the_larger_speaks_and_it_is_said(session: Session, ask, portrait: Path, tmp_path: Path):
    person = Image.open(portrait)
    both = Image.new("RGB", (912, 600), "grey")
    both.paste(person.resize((400, 468)), (0, 60))
    both.paste(person, (400, 0))
    both.save(tmp_path / "both.png")
    face, notice = find_face(read_picture(tmp_path / "both.png"))
    assert face.box[0] > 400 / 912 and notice and "2 faces" in notice
    record = session.generate(ask(image=tmp_path / "both.png"))
    assert record.notices == (notice,)
    assert record.face_box == face.box


@pytest.mark.parametrize("field", ["image", "audio"])
def test_the_video_never_replaces_what_it_is_made_from(
    session: Session, ask, *, portrait: Path, voice: Path, tmp_path: Path, field: str
):
    own = tmp_path / "mine.mp4"
    shutil.copy(portrait if field == "image" else voice, own)
    before = own.read_bytes()
    (tmp_path / "link.mp4").symlink_to(own)
    for out in (own, tmp_path / "link.mp4"):
        with pytest.raises(UserError, match="would replace") as caught:
            session.generate(ask(**{field: own, "out": out}))
        assert caught.value.field == "out"
    assert own.read_bytes() == before


def test_a_long_name_in_wide_letters_is_written(session: Session, ask, tmp_path: Path):
    out = tmp_path / f"{'語' * 80}.mp4"
    session.generate(ask(out=out))
    assert list(tmp_path.iterdir()) == [out]


def test_a_bad_file_is_found_before_a_bad_model(ask, tmp_path: Path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "nano.json").write_text("{}")
    blank = tmp_path / "blank.png"
    Image.new("RGB", (300, 300), "white").save(blank)
    with pytest.raises(FaceNotFound) as caught:
        Session().generate(ask(image=blank, model=str(tmp_path / "broken")))
    assert caught.value.field == "image"
    with pytest.raises(UserError) as caught:
        Session().generate(ask(model=str(tmp_path / "broken")))
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("nano.json", b"{"),
        ("nano.json", b"[]"),
        ("nano.json", b"\xe9"),
        ("transformer/diffusion_pytorch_model.safetensors", b""),
        ("audio_encoder.safetensors", b"no weights"),
        ("text_encoder.safetensors", None),
    ],
)
def test_a_damaged_model_is_the_users_to_mend(nano_folder: Path, tmp_path: Path, file: str, content: bytes | None):
    folder = tmp_path / "model"
    shutil.copytree(nano_folder, folder)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(UserError) as caught:
        Session().warm_up(str(folder))
    assert caught.value.field == "model" and str(folder) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_model_is_loaded_once(ask, nano_folder: Path, tmp_path: Path):
    copied = tmp_path / "model"
    shutil.copytree(nano_folder, copied)
    session, request = Session(), ask(model=str(copied))
    session.warm_up(str(copied))
    for file in copied.rglob("*.safetensors"):
        file.unlink()
    assert session.generate(request).num_frames > 0
