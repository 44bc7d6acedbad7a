"""A personal speaker is learned by a program of its own, is its owner's alone, and is then a model like any other."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from engine.contract.request import GenerationRequest
from engine.contract.variants import find_variant
from studio.service import Studio
from studio.speakers import MOST_STEPS, Speaker, Speakers
from studio.tabs.speakers import models_of, speaker_list
from tests.studio.small_speaker import COMMAND
from tests.tiny_nano import save_tiny_nano

PATIENCE_S = 60.0


@pytest.fixture
def studio(studio: Studio) -> Studio:
    return replace(studio, speaker_trainer=COMMAND)


@pytest.fixture
def speakers(studio: Studio) -> Speakers:
    return studio.speakers


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "talk.mp4"
    path.write_text("talk")
    return path


def ended(speakers: Speakers, owner: str) -> Speaker:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        (speaker, *_) = speakers.of(owner)
        if speaker.state != "running":
            return speaker
        time.sleep(0.02)
    raise AssertionError("it is still running")


def test_a_speaker_is_learned_and_then_chosen_by_its_owner_alone(
    studio: Studio, speakers: Speakers, video: Path, tmp_path: Path
):
    nano = str(save_tiny_nano(tmp_path / "nano"))
    running = speakers.learn("me", video, " Ada ", steps=3, model=nano)
    assert (running.name, running.state, running.model) == ("Ada", "running", None)
    with pytest.raises(UserError, match="being learned already"):
        speakers.learn("you", video, "Bob", steps=3, model=nano)
    learned = ended(speakers, "me")
    assert (learned.state, learned.losses[0]) == ("done", 1.0) and "0.4000 after" in learned.said
    assert find_variant(learned.model).is_nano and find_variant(learned.model).title == "Nano from Ada"
    assert ("Nano as Ada", learned.model) in models_of(studio, "me")
    assert learned.model not in {name for owner in ("you", None) for _, name in models_of(studio, owner)}
    assert Speakers(studio.store.folder / "speakers").of("me") == [learned]
    assert speakers.bytes_used("you") == 0 and speakers.bytes_used("me") > 100_000
    speakers.forget("you", learned.id)
    assert speakers.of("me") == [learned]
    speakers.forget("me", learned.id)
    assert speakers.of("me") == [] and not learned.folder.exists()


def test_what_cannot_be_learned_is_said(speakers: Speakers, video: Path, tmp_path: Path):
    for name, path in (("", video), ("x" * 41, video), ("Ada", tmp_path / "nothing.mp4")):
        with pytest.raises(UserError) as caught:
            speakers.learn("me", path, name, steps=1)
        assert caught.value.field == "speaker"
    assert speakers.of("me") == []
    speakers.learn("me", video, "<Ada>", steps=1, model="nano")
    failed = ended(speakers, "me")
    assert (failed.state, failed.said, failed.model) == ("failed", "The video shows no face.", None)
    assert "&lt;Ada&gt;" in speaker_list([failed]) and "no face" in speaker_list([failed])


def test_learning_stops_when_asked(speakers: Speakers, video: Path):
    running = speakers.learn("me", video, "Ada", steps=2000)
    while not speakers.of("me")[0].losses:
        time.sleep(0.02)
    speakers.stop("you", running.id)
    assert speakers.of("me")[0].state == "running"
    speakers.stop("me", running.id)
    assert ended(speakers, "me").state != "running"


@pytest.mark.parametrize("steps", [-1, 0, MOST_STEPS + 1, 10**9])
def test_a_speaker_is_not_learned_for_ever(speakers: Speakers, video: Path, steps: int):
    with pytest.raises(UserError, match=f"1 to {MOST_STEPS} steps"):
        speakers.learn("me", video, "Ada", steps=steps)
    assert speakers.of("me") == []


def test_a_speaker_is_chosen_by_its_owner_alone_and_a_folder_by_nobody(
    studio: Studio, speakers: Speakers, video: Path, tmp_path: Path, asked: GenerationRequest
):
    nano = str(save_tiny_nano(tmp_path / "nano"))
    speakers.learn("me", video, "Ada", steps=3, model=nano)
    mine = ended(speakers, "me").model
    for allowed in (mine, "nano", "preview", "", None, studio.model):
        studio.check_model("me", allowed)
    said = set()
    for owner, model in (
        ("you", mine),
        ("you", nano),
        ("me", nano),
        ("me", str(tmp_path / "nothing")),
        ("me", f"{mine}/"),
    ):
        with pytest.raises(UserError) as refused:
            studio.check_model(owner, model)
        said.add(refused.value.message.partition(": choose")[2])
        with pytest.raises(UserError, match="Unknown model"):
            studio.submit(owner, {"image": asked.image, "audio": asked.audio, "model": model})
    assert len(said) == 1  # nobody learns from it which folders there are
