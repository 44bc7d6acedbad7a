"""One tiny training in a process of its own, to be killed or to share with others.

Forked from a server that has imported everything and started no thread: a fork of a process in which torch has computed
may wait for ever for the threads that it lacks.
"""

import multiprocessing
import os
from collections.abc import Mapping
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from engine.nano.model import NanoModel
from goals.trainer import tiny
from trainer.data.synthetic_clips import ClipMaker
from trainer.objectives import ndpo, sft
from trainer.subjects import nano_subject
from trainer.subjects.audio_encoder import read_audio_encoder
from trainer.subjects.nano_subject import NanoSubject

KINDS = ("sft", "ndpo")
CHECKPOINT_EVERY = 3


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
        new = NanoSubject(place / "corpus", audio_encoder=encoder)
        return sft.train(tiny.RECIPE, new, run, stop_after=steps)
    start = NanoModel.load(place / "start")
    subject = NanoSubject(place / "corpus", start)
    pool = subject.pool_of(tiny.negatives(start), tiny.BLOCK.seed)
    return ndpo.train(tiny.BLOCK, tiny.RECIPE, subject, pool, run, stop_after=steps).model


def start(
    place: Path, run: Path, kind: str, steps: int | None = None, environment: Mapping[str, str] | None = None
) -> BaseProcess:
    """`train` in a process that is just beginning, saving every few steps, in an `environment` of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_work, args=(place, run, kind, steps, environment or {}), daemon=True)
    process.start()
    return process


def _work(place: Path, run: Path, kind: str, steps: int | None, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    sft.CHECKPOINT_EVERY = CHECKPOINT_EVERY
    # A real training's pool of faces takes seconds to draw.
    nano_subject.ClipMaker = partial(ClipMaker, faces=8)  # type: ignore[misc,assignment]
    train(place, run, kind, steps)
