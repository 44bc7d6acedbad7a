import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.contract.errors import UserError
from engine.contract.variants import NANO
from engine.nano.encoders import NanoAudioEncoder, NanoTextEncoder
from engine.nano.model import NanoModel
from engine.nano.words import Vocabulary
from trainer.data.speech.corpus import Corpus
from trainer.data.synthetic_clips import ClipMaker
from trainer.loop.recipes import SFTRecipe, Stage, nano, nano_soup
from trainer.objectives import sft
from trainer.subjects.audio_encoder import read_audio_encoder
from trainer.subjects.nano_subject import NanoSubject, build_model

TINY = replace(
    nano(),
    stages=(Stage(6, {"image-to-video": 1.0}),),
    warmup_steps=2,
    lengths=((2, 3), (3, 2)),
    transformer={
        "patch_size": (1, 2, 4),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "ffn_dim": 32,
        "num_layers": 1,
        "freq_dim": 16,
        "rope_max_seq_len": 32,
        "audio_intermediate_dim": 8,
        "audio_context_tokens": 2,
    },
    channels={"text": 8, "image": 8, "audio": 16},
)


@pytest.fixture
def audio_encoder(tmp_path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "audio_encoder.safetensors"
    save_file(NanoAudioEncoder(16).state_dict(), path)
    return path


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "loss.jsonl").read_text().splitlines()]


def train(recipe: SFTRecipe, corpus: Path, audio_encoder: Path, run: Path, **how) -> Path:
    start = how.pop("start", None)
    return sft.train(recipe, NanoSubject(corpus, start, audio_encoder=audio_encoder), run, **how)


def test_a_run_killed_between_checkpoints_goes_on_to_the_same_losses_and_weights(
    toy_corpus_folder, audio_encoder, tmp_path, monkeypatch
):
    monkeypatch.setattr(sft, "CHECKPOINT_EVERY", 2)
    whole = train(TINY, toy_corpus_folder, audio_encoder, tmp_path / "whole")
    train(TINY, toy_corpus_folder, audio_encoder, tmp_path / "killed", stop_after=2)
    with (tmp_path / "killed" / "loss.jsonl").open("a") as log:
        log.write('{"step": 2, "loss": 9.0, "seconds": 0.0}\n')  # logged, but its weights were never saved
    resumed = train(TINY, toy_corpus_folder, audio_encoder, tmp_path / "killed")

    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    weights = [load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors") for folder in (whole, resumed)]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_a_run_does_not_go_on_with_another_recipe(toy_corpus_folder, audio_encoder, tmp_path):
    train(TINY, toy_corpus_folder, audio_encoder, tmp_path / "run", stop_after=1)
    with pytest.raises(UserError, match="another recipe"):
        train(replace(TINY, seed=1), toy_corpus_folder, audio_encoder, tmp_path / "run")


def test_the_engine_loads_what_training_leaves_behind(toy_corpus_folder, audio_encoder, tmp_path):
    folder = train(TINY, toy_corpus_folder, audio_encoder, tmp_path / "run", stop_after=1)
    model = NanoModel.load(folder)
    assert model.window_latent_frames == 3
    assert model.description["steps_done"] == 1


def test_training_learns(toy_corpus_folder, audio_encoder, tmp_path):
    recipe = replace(TINY, stages=(Stage(160, {"image-to-video": 1.0}),), learning_rate=5e-3, lengths=((2, 16),))
    train(recipe, toy_corpus_folder, audio_encoder, tmp_path / "run")
    course = losses(tmp_path / "run")
    assert sum(course[-10:]) < 0.9 * sum(course[:10])


SOUP = replace(
    TINY,
    trained_on=True,
    stages=tuple(replace(stage, steps=2) for stage in nano_soup().stages),
)


def test_the_soup_goes_on_from_a_model_and_survives_a_kill_at_a_stages_end(toy_corpus_folder, audio_encoder, tmp_path):
    first = train(TINY, toy_corpus_folder, audio_encoder, tmp_path / "first", stop_after=1)
    start = NanoModel.load(first)
    whole = train(SOUP, toy_corpus_folder, audio_encoder, tmp_path / "whole", start=start)
    train(SOUP, toy_corpus_folder, audio_encoder, tmp_path / "killed", start=start, stop_after=2)
    resumed = train(SOUP, toy_corpus_folder, audio_encoder, tmp_path / "killed", start=start)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "loss.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == [1, 1, 2, 2, 3, 3]
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    weights = [load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors") for folder in (whole, resumed)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_words_keep_their_meaning_when_a_model_is_trained_on(toy_corpus_folder, audio_encoder, tmp_path):
    start = NanoModel.load(train(TINY, toy_corpus_folder, audio_encoder, tmp_path / "first", stop_after=1))
    start.text_encoder = NanoTextEncoder(Vocabulary(("nodding", "calm")), 8)
    clips = ClipMaker(Corpus(toy_corpus_folder / "train"), 0, faces=8)
    model = build_model(SOUP, clips, read_audio_encoder(audio_encoder, 16), start)
    for word in ("nodding", "calm"):
        assert torch.equal(model.encode_text([word])[0, 0], start.encode_text([word])[0, 0])


@pytest.mark.parametrize(("recipe", "given"), [(SOUP, False), (TINY, True)])
def test_a_recipe_begins_with_a_model_or_with_nothing(recipe, given, toy_corpus_folder, audio_encoder, tmp_path):
    start = NanoModel(NanoModel.load(NANO.folder).description) if given else None
    with pytest.raises(UserError, match="--start"):
        train(recipe, toy_corpus_folder, audio_encoder, tmp_path / "run", start=start)
