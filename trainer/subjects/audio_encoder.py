"""Pre-train nano's audio encoder: from noisy synthetic speech to the mouth curves behind it.

The regression teaches the features what lips do; the transformer's audio attention then learns from those features.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.contract.errors import UserError
from engine.nano.encoders import NanoAudioEncoder, level
from trainer.data.files import writable_folder
from trainer.data.speech.augment import augment
from trainer.data.speech.corpus import SPLITS, Corpus
from trainer.data.speech.visemes import closures
from trainer.loop.checkpoint import room_on_disk

CLIP_FRAMES = 100
CURVE_WEIGHTS = (3.0, 1.5, 1.0, 0.5, 0.5)
"""Of aperture, width, bite, teeth, tongue in the loss."""


def read_audio_encoder(path: Path, channels: int = 128) -> NanoAudioEncoder:
    """The pre-trained audio encoder in the file `path`. Raises UserError where that holds something else."""
    encoder = NanoAudioEncoder(channels)
    try:
        encoder.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise UserError(
            f"{path} is not an audio encoder of {channels} channels: make it with python -m trainer audio-encoder.",
            "audio-encoder",
        ) from error
    return encoder


def clip_batch(corpus: Corpus, size: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random clips: waves [B, 640·F] and curves [B, F, 5]."""
    starts = random.integers(len(corpus.curves) - CLIP_FRAMES, size=size)
    waves = np.stack([corpus.wave(start, CLIP_FRAMES) for start in starts])
    curves = np.stack([corpus.curves[start : start + CLIP_FRAMES] for start in starts]).astype(np.float32)
    return torch.from_numpy(waves), torch.from_numpy(curves)


def aperture_r(encoder: NanoAudioEncoder, corpus: Corpus, tracks: int) -> np.ndarray:
    """Pearson r of predicted and true aperture on each of the split's first `tracks` tracks, unaugmented."""
    scores = []
    for track in [row for row in corpus.index if row["voice"] != "silence"][:tracks]:
        wave = level(corpus.wave(track["first_frame"], track["frames"]))
        with torch.no_grad():
            predicted = encoder.head(encoder(torch.from_numpy(wave)[None]))[0, :, 0].numpy()
        true = corpus.curves[track["first_frame"] : track["first_frame"] + track["frames"], 0]
        scores.append(np.corrcoef(predicted, true.astype(np.float32))[0, 1])
    return np.array(scores)


def pretrain(
    corpus_folder: Path,
    out: Path,
    *,
    steps: int,
    batch: int,
    seed: int,
    start: Path | None = None,
    closure_weight: float = 1.0,
) -> dict[str, float]:
    """Train for `steps`, write audio_encoder.safetensors and its log into `out`; returns mean r by held-out split.

    Goes on from the encoder in the file `start` if there is one, with a learning-rate schedule of its own. Frames in
    which lips close between sounds count `closure_weight` times.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    noise = torch.Generator().manual_seed(seed)
    corpus, *held_out = (Corpus(corpus_folder / split) for split in SPLITS)
    writable_folder(out)
    encoder = read_audio_encoder(start) if start else NanoAudioEncoder()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1.5e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.5e-3, total_steps=steps, pct_start=0.05)
    weights = torch.tensor(CURVE_WEIGHTS)
    started = time.monotonic()
    with (out / "audio_encoder.jsonl").open("w") as log:
        for step in range(steps):
            waves, curves = clip_batch(corpus, batch, random)
            waves = torch.from_numpy(np.stack([level(wave) for wave in augment(waves, noise).numpy()]))
            loudness = torch.exp(torch.randn(batch, 1, generator=noise) * 0.25)
            predicted = encoder.head(encoder(waves * loudness))
            closed = torch.from_numpy(np.stack([closures(clip) for clip in curves[..., 0].numpy()]))
            counts = 1 + (closure_weight - 1) * closed[..., None]
            loss = (((predicted - curves).square() * counts).mean(dim=(0, 1)) * weights).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % 50 == 0 or step == steps - 1:
                row = {"step": step, "loss": loss.item(), "seconds": round(time.monotonic() - started, 1)}
                log.write(json.dumps(row) + "\n")
                log.flush()
    encoder.eval()
    with room_on_disk(out / "audio_encoder.safetensors"):
        save_file(encoder.state_dict(), out / "audio_encoder.safetensors")
    return {
        split: float(aperture_r(encoder, unheard, 60).mean())
        for split, unheard in zip(SPLITS[1:], held_out, strict=True)
    }
