from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engine.contract.records import NegativeRecord
from trainer.data.speech.corpus import SAMPLES_PER_FRAME
from trainer.data.synthetic_clips import ClipMaker


@pytest.fixture(autouse=True)
def few_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool of a few faces: that of a real training takes seconds to draw."""
    monkeypatch.setattr("trainer.subjects.nano_subject.ClipMaker", partial(ClipMaker, faces=8))


@pytest.fixture(scope="session")
def toy_corpus_folder(tmp_path_factory) -> Path:
    """A corpus of humming whose mouth opens twice a second: real files, made without any speech program."""
    folder = tmp_path_factory.mktemp("corpus") / "train"
    folder.mkdir()
    frames = 600
    times_s = np.arange(frames) / 25
    curves = np.zeros((frames, 5), np.float16)
    curves[:, 0] = 0.5 - 0.5 * np.cos(2 * np.pi * 2 * times_s)
    sound = np.sin(2 * np.pi * 150 * np.arange(frames * SAMPLES_PER_FRAME) / 16000) * np.repeat(
        curves[:, 0].astype(np.float32), SAMPLES_PER_FRAME
    )
    np.save(folder / "waves.npy", (sound * 20000).astype(np.int16))
    np.save(folder / "curves.npy", curves)
    (folder / "index.json").write_text('[{"first_frame": 0, "frames": 600, "voice": "hum"}]')
    return folder.parent


@pytest.fixture
def write_labels(tmp_path: Path) -> Callable[..., Path]:
    """A file of the labels given, each call over the last."""

    def write(*records: NegativeRecord) -> Path:
        path = tmp_path / "labels.jsonl"
        path.write_text("".join(record.model_dump_json() + "\n" for record in records))
        return path

    return write
