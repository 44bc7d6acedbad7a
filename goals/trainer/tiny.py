"""A tiny nano, a humming corpus and negatives that the sampler made: real parts, so small that a run takes seconds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.contract.settings import SamplingSettings
from engine.contract.variants import NANO
from engine.nano.animator import encode_conditions
from engine.nano.encoders import NanoAudioEncoder
from engine.nano.model import NanoModel
from engine.sampling.denoise import denoise
from trainer.data.speech.corpus import SAMPLES_PER_FRAME, Corpus
from trainer.data.synthetic_clips import ClipMaker
from trainer.data.tasks import SCHEDULES
from trainer.loop.recipes import NDPORecipe, Stage, nano
from trainer.metrics.held_out import synthetic_reference
from trainer.subjects.nano_subject import build_model
from trainer.subjects.negatives import Negative, bad_latents, negatives_of

CORPUS_FRAMES = 600
NEGATIVE_FRAMES = 33
RECIPE = replace(
    nano(),
    name="tiny",
    stages=tuple(Stage(17, shares) for shares in SCHEDULES["hard-to-easy"]),
    warmup_steps=2,
    lengths=((2, 4), (3, 4)),
    transformer={
        "patch_size": (1, 2, 4),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "ffn_dim": 32,
        "num_layers": 2,
        "freq_dim": 16,
        "rope_max_seq_len": 32,
        "audio_intermediate_dim": 8,
        "audio_context_tokens": 2,
    },
    channels={"text": 8, "image": 8, "audio": 16},
)
BLOCK = NDPORecipe(steps=50, negatives=4, check_every=10, warmup_steps=2, held_out_slack=0.5)


def write_corpus(folder: Path) -> Path:
    """Humming whose mouth opens twice a second, as the splits that training reads; returns the corpus's folder."""
    times_s = np.arange(CORPUS_FRAMES) / 25
    curves = np.zeros((CORPUS_FRAMES, 5), np.float16)
    curves[:, 0] = 0.5 - 0.5 * np.cos(2 * np.pi * 2 * times_s)
    loudness = np.repeat(curves[:, 0].astype(np.float32), SAMPLES_PER_FRAME)
    sound = np.sin(2 * np.pi * 150 * np.arange(CORPUS_FRAMES * SAMPLES_PER_FRAME) / 16000) * loudness
    for split in ("train", "heldout_voice"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        np.save(folder / split / "waves.npy", (sound * 20000).astype(np.int16))
        np.save(folder / split / "curves.npy", curves)
        (folder / split / "index.json").write_text(f'[{{"first_frame": 0, "frames": {CORPUS_FRAMES}, "voice": "hum"}}]')
    return folder


def write_audio_encoder(path: Path) -> Path:
    """One with random weights."""
    torch.manual_seed(0)
    save_file(NanoAudioEncoder(RECIPE.channels["audio"]).state_dict(), path)
    return path


def write_model(folder: Path, corpus: Path, audio_encoder: NanoAudioEncoder) -> Path:
    """A nano of RECIPE's sizes with random weights in every layer, the units those of the corpus."""
    model = build_model(RECIPE, ClipMaker(Corpus(corpus / "train"), 0, faces=64), audio_encoder)
    for weight in model.transformer.parameters():
        nn.init.normal_(weight, std=0.1)
    model.save(folder)
    return folder


def negatives(model: NanoModel, count: int = 2) -> list[Negative]:
    """Clips that `model` makes of noise, wholly bad."""
    made: list[Negative] = []
    settings = NANO.default_settings.model_copy(update={"sampling": SamplingSettings(steps=2, solver="euler")})
    for seed in range(count):
        wave = np.random.default_rng(seed).normal(0, 0.05, NEGATIVE_FRAMES * SAMPLES_PER_FRAME).astype(np.float32)
        conditions = encode_conditions(model, synthetic_reference(model, seed), wave, NEGATIVE_FRAMES, prompt="happy")
        latents: Tensor = denoise(
            model.transformer,
            conditions,
            settings,
            window_latent_frames=model.window_latent_frames,
            seed=seed,
            watch=lambda done, clean: None,
        )
        bad = bad_latents(latents.shape[2], [(0, NEGATIVE_FRAMES)])
        length = model.window_latent_frames
        made += negatives_of(conditions, latents, bad, "happy", settings, window_latent_frames=length)
    return made
