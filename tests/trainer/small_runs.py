"""What tests of training share: a tiny recipe and corpus splits, so that a run of real parts takes seconds."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from engine.model.nano import WEIGHTS
from trainer.recipes import NDPORecipe, Stage, nano

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
