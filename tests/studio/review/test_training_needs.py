"""What a training on labels needs is looked at before it starts, and said whole, in words of the page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from numpy import zeros
from safetensors.numpy import save_file

from engine.contract.errors import UserError
from engine.contract.unlearning import BUNDLED_SPEECH, CURVES_NAME, HELD_OUT_SPLIT, find_speech, is_speech
from engine.contract.variants import TRANSFORMER_WEIGHTS
from engine.media.inputs import file_sha256
from studio.review import training_needs
from studio.review.clips import ClipFolder
from studio.review.store import ReviewStore
from studio.review.training_needs import Needs, look
from tests.studio.review.small_clips import key, small_clip
from tests.studio.review.test_store import items_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of nano's, as far as the page looks at it."""
    folder = tmp_path / "of-nano"
    (folder / TRANSFORMER_WEIGHTS).parent.mkdir(parents=True)
    save_file({"weight": zeros(3)}, folder / TRANSFORMER_WEIGHTS)
    (folder / "nano.json").write_text("{}")
    return folder


@pytest.fixture
def needs(reviews: ReviewStore, model: Path, tmp_path: Path) -> Iterator[Needs]:
    """Three bad clips and a good one of the model, two bad of another, one bad that kept no latents."""
    batch, own = reviews.add_batch("Mixed", "lead").id, file_sha256(model / TRANSFORMER_WEIGHTS)
    clips = [small_clip(number, own) for number in range(5)] + [small_clip(number, "e" * 64) for number in (5, 6)]
    clips[0] = clips[0].model_copy(update={"files": clips[0].files | {"latents": None}})
    for clip in clips:
        reviews.keep_clip(clip)
    reviews.add_items(batch, [(clip.id, None) for clip in clips])
    for item in items_of(reviews, batch):
        good = item.clip_id == clips[4].id
        if not good:
            reviews.press("ada", batch, key(item.id, "mark", issue="jitter"))
        reviews.press("ada", batch, key(item.id, "good" if good else "bad"))

    def asked(**options: object) -> Needs:
        return look(reviews, ClipFolder(tmp_path / "clips", reviews), str(model), tmp_path / "runs", **options)

    return asked


def test_only_its_own_labels_are_taken_and_the_others_are_counted(needs, tmp_path: Path):
    found = needs()
    assert (found.usable.bad, found.usable.other_model, found.usable.without_latents) == (3, 2, 1)
    assert len(found.usable.lines) == 4 and not found.missing
    assert "3 bad clips" in found.there[0] and "2 made by another" in found.there[0] and "1 that kept" in found.there[0]
    assert needs(issue="jitter").usable.bad == 3


def test_everything_that_is_missing_is_said_at_once_without_flags(needs, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(training_needs, "find_speech", lambda at: tmp_path / "nowhere")
    (blur,) = [needs(issue="blur")]
    assert len(blur.missing) == 2 and not blur.there
    monkeypatch.undo()
    monkeypatch.setattr(training_needs, "RUN_BYTES", 10**18)
    (room,) = needs().missing
    assert "MB left" in room
    assert not any(re.search(r"--\w|python -m", line) for line in (*blur.missing, room))


@pytest.mark.parametrize("name", ["flash", "preview", "nowhere", "/tmp"])
def test_a_model_that_cannot_learn_here_is_refused(reviews, tmp_path: Path, name):
    with pytest.raises(UserError) as refused:
        look(reviews, ClipFolder(tmp_path / "clips", reviews), name, tmp_path / "runs")
    assert "--" not in refused.value.message


def test_speech_comes_with_the_studio_and_a_whole_corpus_goes_before_it(tmp_path: Path):
    assert is_speech(BUNDLED_SPEECH)
    assert find_speech(at=tmp_path) == BUNDLED_SPEECH
    whole = tmp_path / "data" / "speech"
    for split in ("train", HELD_OUT_SPLIT):
        (whole / split).mkdir(parents=True)
        for name in ("index.json", CURVES_NAME, "waves.npy"):
            (whole / split / name).touch()
    assert find_speech(at=tmp_path) == whole
    (whole / HELD_OUT_SPLIT / CURVES_NAME).unlink()
    assert find_speech(at=tmp_path) == BUNDLED_SPEECH
    assert find_speech(tmp_path) == tmp_path
