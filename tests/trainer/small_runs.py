"""What tests of training share: a tiny recipe and corpus splits, so that a run of real parts takes seconds."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.nano.model import WEIGHTS
from trainer.data.speech.corpus import Track
from trainer.loop.recipes import NDPORecipe, Stage, nano
from trainer.objectives import wide_mouths

TINY = replace(
    nano(),
    stages=(Stage(6, {"image-to-video": 1.0}),),
    warmup_steps=2,
    lengths=((2, 4), (3, 2)),
)
TINY_BLOCK = NDPORecipe(steps=6, negatives=4, check_every=2, warmup_steps=2, learning_rate_share=0.3)


def with_held_out(corpus: Path, folder: Path) -> Path:
    """The corpus with a held-out split, here the same one."""
    for split in ("train", "heldout_voice"):
        shutil.copytree(corpus / "train", folder / split)
    return folder


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / WEIGHTS)


def hums(splits: tuple[str, ...], count: int, clip_s: float, first: int = 0) -> Iterator[Track]:
    """Tracks without any speech program, whose mouth opens twice a second."""
    frames = round(25 * clip_s)
    curves = np.repeat(0.5 - 0.5 * np.cos(4 * np.pi * np.arange(frames)[:, None] / 25), 5, axis=1).astype(np.float32)
    for number in range(first, first + count):
        wave = 0.2 * np.sin(2 * np.pi * (120 + number % 50 * 10) * np.arange(frames * 640) / 16000)
        yield Track(wave.astype(np.float32), curves, "hum", ())


def hum_short_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips that wide mouths are looked for in are a second of humming, and few."""
    monkeypatch.setattr(wide_mouths, "held_out_tracks", hums)
    monkeypatch.setattr(wide_mouths, "CLIP_S", 1.0)
    monkeypatch.setattr(wide_mouths, "CALIBRATION", 5)


@contextmanager
def room_for(most_bytes: int) -> Iterator[None]:
    """No file may grow beyond this."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
