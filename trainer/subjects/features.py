"""Audio features of a whole speech corpus, computed once: the encoder is frozen while the transformer is trained."""

import os
from pathlib import Path

import numpy as np
import torch

from engine.contract.errors import UserError
from engine.nano.encoders import NanoAudioEncoder, level
from trainer.data.speech.augment import augment
from trainer.data.speech.corpus import Corpus
from trainer.loop.checkpoint import room_on_disk

_CHUNK_FRAMES = 400
_MARGIN_FRAMES = 25
_BATCH = 8


def corpus_features(encoder: NanoAudioEncoder, corpus: Corpus, out: Path, versions: int, seed: int) -> np.ndarray:
    """Features float16 [versions, frames, channels], memory-mapped from `out`, made if they are not there.

    Version 0 is the clean corpus; every other is augmented differently, anew in each chunk of 16 s. Raises UserError
    where `out` is damaged or of another corpus, and where the disk is full.
    """
    frames = len(corpus.curves)
    shape = (versions, frames, encoder.norm.normalized_shape[0])
    if not out.exists():
        partial = out.with_suffix(".partial.npy")
        with room_on_disk(out):
            _reserve(partial, shape)
        features = np.lib.format.open_memmap(partial, mode="r+")
        for version in range(versions):
            noise = torch.Generator().manual_seed(seed * 1000 + version)
            for start in range(0, frames, _CHUNK_FRAMES * _BATCH):
                _fill(encoder, corpus, features[version], start, noise if version else None)
        features.flush()
        partial.rename(out)
    try:
        made: np.ndarray = np.load(out, mmap_mode="r")
    except (ValueError, EOFError, OSError):
        made = np.empty(0)
    if made.shape != shape or made.dtype != np.float16:
        raise UserError(
            f"The audio features in {out} are damaged or another corpus's: {list(made.shape)} where this one's are "
            f"{list(shape)}. Delete the file, or name another with --features.",
            "features",
        )
    return made


def _reserve(path: Path, shape: tuple[int, int, int]) -> None:
    """Room for the array in `path`: what is written to a map of a file for which there is none kills the program."""
    try:
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError:
        path.unlink(missing_ok=True)
        raise


@torch.no_grad()
def _fill(encoder: NanoAudioEncoder, corpus: Corpus, features: np.ndarray, start: int, noise) -> None:
    frames = len(features)
    starts = range(start, min(start + _CHUNK_FRAMES * _BATCH, frames), _CHUNK_FRAMES)
    firsts = [max(0, min(s - _MARGIN_FRAMES, frames - _CHUNK_FRAMES - 2 * _MARGIN_FRAMES)) for s in starts]
    waves = torch.from_numpy(np.stack([corpus.wave(f, _CHUNK_FRAMES + 2 * _MARGIN_FRAMES) for f in firsts]))
    if noise is not None:
        waves = augment(waves, noise)
    encoded = encoder(torch.from_numpy(np.stack([level(wave) for wave in waves.numpy()]))).half().numpy()
    for chunk_start, first, chunk in zip(starts, firsts, encoded, strict=True):
        stop = min(chunk_start + _CHUNK_FRAMES, frames)
        features[chunk_start:stop] = chunk[chunk_start - first : stop - first]
