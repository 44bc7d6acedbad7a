"""Goals are tried on what the trainer's tests make: a toy corpus, few faces, a spoken sentence."""

from tests.trainer.conftest import few_faces, toy_corpus_folder, write_labels  # noqa: F401 (fixtures)
from tests.trainer.evaluate.conftest import *  # noqa: F403 (fixtures)
