"""`python -m trainer.prove.worker PLACE RUN KIND [STEPS]`: one tiny training, to be killed or to share with others.

PLACE was made by `prepare`; KIND is sft, ndpo. With FSDP2 or DDP where accelerate's environment asks for it.
"""

import sys
from functools import partial
from pathlib import Path

import torch

from engine.model.nano import NanoModel
from trainer import ndpo, sft
from trainer.audio_encoder import read_audio_encoder
from trainer.clips import ClipMaker
from trainer.prove import tiny

KINDS = ("sft", "ndpo")


def prepare(place: Path) -> Path:
    """Put what trainings begin with into `place`."""
    corpus = tiny.write_corpus(place / "corpus")
    encoder = tiny.write_audio_encoder(place / "audio_encoder.safetensors")
    tiny.write_model(place / "start", corpus, read_audio_encoder(encoder, tiny.RECIPE.channels["audio"]))
    return place


def train(place: Path, run: Path, kind: str, steps: int | None = None) -> Path:
    """The training `kind` from `place` in `run`, or as much of it as `steps`; the model's folder."""
    if kind == "sft":
        encoder = place / "audio_encoder.safetensors"
        return sft.train(tiny.RECIPE, place / "corpus", encoder, run, stop_after=steps)
    start = NanoModel.load(place / "start")
    made = tiny.negatives(start)
    block = ndpo.train(tiny.BLOCK, tiny.RECIPE, start, made, corpus_folder=place / "corpus", run=run, stop_after=steps)
    return block.model


if __name__ == "__main__":
    torch.set_num_threads(1)
    sft.CHECKPOINT_EVERY = 3
    # A real training's pool of faces takes seconds to draw.
    sft.ClipMaker = ndpo.ClipMaker = partial(ClipMaker, faces=64)  # type: ignore[misc,assignment]
    limit = int(sys.argv[4]) if len(sys.argv) > 4 else None
    train(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], limit)
