"""A validation tells how far a training is, and changes nothing of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.contract.errors import UserError
from engine.contract.variants import find_variant
from engine.media.video import probe
from engine.pipeline import LATENTS_KEY
from tests.released_layout import AUDIO_WIDTH, IMAGE_WIDTH, TEXT_WIDTH, write_released_model
from tests.trainer.small_runs import with_held_out
from tests.trainer.test_released import PARITY, write_shards
from tests.trainer.test_sft import TINY, audio_encoder, losses  # noqa: F401 (a fixture)
from trainer.loop.checkpoint import read_rows
from trainer.loop.recipes import released_soup
from trainer.loop.validation import CLIPS, LOG, Validating
from trainer.objectives import sft
from trainer.subjects import nano_validation
from trainer.subjects.nano_subject import NanoSubject
from trainer.subjects.released_subject import ReleasedSubject

EVERY_2 = Validating(every=2, clips=2)
CLIP_FRAMES = 9


@pytest.fixture
def corpus(toy_corpus_folder, tmp_path) -> Path:
    return with_held_out(toy_corpus_folder, tmp_path / "corpus")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "transformer" / "diffusion_pytorch_model.safetensors")


def test_losses_and_weights_are_the_same_with_and_without(corpus, audio_encoder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(nano_validation, "CLIP_FRAMES", CLIP_FRAMES)
    sft.train(TINY, NanoSubject(corpus, audio_encoder=audio_encoder), tmp_path / "with", validate=EVERY_2)
    sft.train(TINY, NanoSubject(corpus, audio_encoder=audio_encoder), tmp_path / "without")
    assert losses(tmp_path / "with") == losses(tmp_path / "without")
    assert all(
        torch.equal(tensor, weights(tmp_path / "without")[n]) for n, tensor in weights(tmp_path / "with").items()
    )
    rows = read_rows(tmp_path / "with" / LOG)
    assert [row["step"] for row in rows] == [1, 3, 5]
    assert len({row["held_out"] for row in rows}) == 3
    for row in rows:
        assert len(row["clips"]) == 2 and -1 <= row["proxy/lip_r"] <= 1
        for clip in row["clips"]:
            made = probe(tmp_path / "with" / CLIPS / f"{row['step'] + 1:06d}" / clip["file"])
            assert made.num_frames == CLIP_FRAMES and made.audio_sample_rate_hz


def test_a_killed_run_says_the_same_again(corpus, audio_encoder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sft, "CHECKPOINT_EVERY", 3)
    alone = replace(EVERY_2, clips=0)
    sft.train(TINY, NanoSubject(corpus, audio_encoder=audio_encoder), tmp_path / "whole", validate=alone)
    sft.train(TINY, NanoSubject(corpus, audio_encoder=audio_encoder), tmp_path / "killed", validate=alone, stop_after=3)
    with (tmp_path / "killed" / LOG).open("a") as log:
        log.write('{"step": 3, "held_out": 9.0}\n')  # said, but the weights were never saved
    sft.train(TINY, NanoSubject(corpus, audio_encoder=audio_encoder), tmp_path / "killed", validate=alone)
    whole, killed = (
        {row["step"]: row["held_out"] for row in read_rows(tmp_path / run / LOG)} for run in ("whole", "killed")
    )
    assert whole.items() <= killed.items()


@pytest.fixture
def released(tmp_path) -> ReleasedSubject:
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)
    for name, first in (("data", 0), ("held_out", 10)):
        write_shards(tmp_path / name, first, text=TEXT_WIDTH, image=IMAGE_WIDTH, audio=AUDIO_WIDTH)
    return ReleasedSubject(find_variant(str(folder)), tmp_path / "data", tmp_path / "held_out", batch=2)


def test_a_released_model_is_validated_on_shards_of_its_own(released, tmp_path):
    recipe = replace(released_soup((1, 1, 1)), warmup_steps=1)
    sft.train(recipe, released, tmp_path / "run", validate=Validating(every=2, clips=1))
    sft.train(recipe, released, tmp_path / "without")
    assert losses(tmp_path / "run") == losses(tmp_path / "without")
    rows = read_rows(tmp_path / "run" / LOG)
    assert [row["step"] for row in rows] == [1, 2]
    clip = rows[-1]["clips"][0]
    folder = tmp_path / "run" / CLIPS / "000003"
    assert load_file(folder / clip["file"])[LATENTS_KEY].shape[:3] == (1, 16, 3)
    assert probe(folder / clip["video"]).num_frames == 9
    assert json.dumps(rows)


def test_what_is_trained_on_is_not_held_out(released, tmp_path):
    same = replace(released, held_out_data=tmp_path / "data")
    with pytest.raises(UserError, match="trained on"):
        sft.train(released_soup((1, 1, 1)), same, tmp_path / "run", validate=Validating(every=2, clips=1))
