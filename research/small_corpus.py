"""A small part of the speech corpus in its own layout: all arms train on the same, and its features are soon made."""

import json
from pathlib import Path

import numpy as np

from trainer.data.speech.corpus import SAMPLES_PER_FRAME, Corpus

TRAIN_FRAMES = 90_000
"""An hour."""
HELD_OUT_FRAMES = 7_500


def small_corpus(source: Path, folder: Path) -> Path:
    """`folder`, made if it is not there: the first frames of the splits of `source` that trainings need.

    Raises UserError where `source` is no corpus.
    """
    for split, frames in (("train", TRAIN_FRAMES), ("heldout_voice", HELD_OUT_FRAMES)):
        if (folder / split / "index.json").exists():
            continue
        whole = Corpus(source / split)
        (folder / split).mkdir(parents=True, exist_ok=True)
        np.save(folder / split / "waves.npy", whole.waves[: frames * SAMPLES_PER_FRAME])
        np.save(folder / split / "curves.npy", whole.curves[:frames])
        index = [track for track in whole.index if track["first_frame"] + track["frames"] <= frames]
        # Last: it says that the others are whole.
        (folder / split / "index.json").write_text(json.dumps(index))
    return folder
