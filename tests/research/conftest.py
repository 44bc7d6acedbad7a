from dataclasses import replace
from functools import partial

import pytest

from tests.tiny_nano import DESCRIPTION
from tests.trainer.conftest import few_faces, toy_corpus_folder  # noqa: F401 (fixtures)
from trainer.data.synthetic_clips import ClipMaker
from trainer.loop.recipes import nano_soup


@pytest.fixture
def small_recipes(monkeypatch):
    """Recipes of a tiny model, whose batches are two clips of eight faces."""
    small = {"transformer": DESCRIPTION["transformer"], "channels": DESCRIPTION["channels"], "lengths": ((2, 2),)}
    monkeypatch.setattr("research.short_training.FACES", 8)
    monkeypatch.setattr("trainer.subjects.nano_subject.ClipMaker", partial(ClipMaker, faces=8))
    monkeypatch.setattr("research.short_training.nano_soup", lambda *given: replace(nano_soup(*given), **small))
