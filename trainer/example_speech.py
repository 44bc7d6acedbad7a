"""Make the bundled speech anew: `python -m trainer.example_speech CORPUS` writes assets/speech.

The first minutes of the corpus (`trainer synthesize`) that a block of Negative-DPO learns beside its labels, and of the
voices that its guard listens to, packed: so that labels can be trained on where no speech programs are installed.
"""

import json
import sys
from pathlib import Path

import numpy as np

from engine.contract.unlearning import (
    BUNDLED_SPEECH,
    CURVES_NAME,
    HELD_OUT_SPLIT,
    INDEX_NAME,
    PACKED_WAVES_NAME,
    TRAIN_SPLIT,
)
from trainer.data.speech.corpus import SAMPLES_PER_FRAME, Corpus, pack

MOST_FRAMES = {TRAIN_SPLIT: 10 * 60 * 25, HELD_OUT_SPLIT: 2 * 60 * 25}
"""Ten minutes, and two."""


def write(source: Path, folder: Path) -> None:
    """`folder` gets the whole tracks with which each split of `source` begins. Raises UserError for no corpus."""
    for split, most in MOST_FRAMES.items():
        whole = Corpus(source / split)
        index = [track for track in whole.index if track["first_frame"] + track["frames"] <= most]
        frames = index[-1]["first_frame"] + index[-1]["frames"]
        (folder / split).mkdir(parents=True, exist_ok=True)
        pack(np.asarray(whole.waves[: frames * SAMPLES_PER_FRAME]), folder / split / PACKED_WAVES_NAME)
        np.save(folder / split / CURVES_NAME, whole.curves[:frames])
        (folder / split / INDEX_NAME).write_text(json.dumps(index))


if __name__ == "__main__":
    write(Path(sys.argv[1]), BUNDLED_SPEECH)
