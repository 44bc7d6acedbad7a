"""Runs the arms of an experiment, seed by seed, and keeps every result on disk, so that a killed one goes on.

A result is named by everything that shaped it; arms that experiments share are run once.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.nano.model import NanoModel
from research.measures import METRICS, Values, measure
from research.omissions import omitting
from research.plan import Arm
from research.short_training import train_on
from research.small_corpus import small_corpus
from research.unlearning import Shared, unlearn
from trainer.data.speech.corpus import Corpus
from trainer.loop.checkpoint import save_text

VERSION = 1
"""Of the measures and the training: results of another one are not reused."""


@dataclass(frozen=True)
class Result:
    """One arm with one seed. `steps` it was trained for (0: not at all), processor minutes of training and of all."""

    values: Values
    steps: int
    training_minutes: float
    minutes: float
    last_loss: float | None
    told: tuple[str, ...] = ()
    """What happened in its training."""


class Laboratory:
    """What all arms share: the model, the corpus, how much is measured and trained, and where results are kept."""

    def __init__(self, model: NanoModel, corpus: Path, runs: Path, *, clips: int, steps: int) -> None:
        """`steps` of training for every arm that is trained; `clips` are measured for every arm and seed."""
        self._model, self._corpus, self._runs, self._clips, self._steps = model, corpus, runs, clips, steps

    def kept(self, arm: Arm, seed: int) -> Result | None:
        """The result of an earlier run, or None."""
        path = self._path(arm, seed)
        if not path.exists():
            return None
        kept = json.loads(path.read_text())["result"]
        return Result(**kept | {"told": tuple(kept.get("told", ()))})

    def run(self, arm: Arm, seed: int, say: Callable[[str], None]) -> Result:
        """The result of `arm` with `seed`, kept from earlier or made now."""
        known = self.kept(arm, seed)
        if known is not None:
            return known
        started_s = time.process_time()
        model, losses, told = self._model, list[float](), list[str]()
        if arm.is_trained:
            say(f"{arm.name}, seed {seed}: training for {self._steps} steps")
            corpus = small_corpus(self._corpus, self._runs / "corpus")
            features = self._runs / f"features_{self._hearing(corpus)}.npy"
        if arm.training is not None:
            model, losses = train_on(
                model,
                arm.training,
                arm.omission,
                corpus=Corpus(corpus / "train"),
                features=features,
                steps=self._steps,
                seed=seed,
            )
        elif arm.unlearning is not None:
            model, told = unlearn(model, arm.unlearning, Shared(corpus, features, self._runs, self._steps), seed)
        training_s = time.process_time() - started_s
        say(f"{arm.name}, seed {seed}: measuring")
        with omitting(model.transformer, arm.omission):
            values = measure(model, arm.settings, seed, self._clips)
        result = Result(
            values,
            self._steps if arm.is_trained else 0,
            round(training_s / 60, 2) if arm.is_trained else 0.0,
            round((time.process_time() - started_s) / 60, 2),
            round(sum(losses[-20:]) / len(losses[-20:]), 5) if losses else None,
            tuple(told),
        )
        save_text(
            self._path(arm, seed), json.dumps({"of": self._shaped_by(arm, seed), "result": asdict(result)}) + "\n"
        )
        return result

    def _shaped_by(self, arm: Arm, seed: int) -> dict[str, Any]:
        shaped = arm.as_dict() | {
            "version": VERSION,
            "model_sha256": self._model.checkpoint_sha256,
            "clips": self._clips,
            "metrics": list(METRICS),
            "seed": seed,
        }
        return shaped | ({"steps": self._steps} if arm.is_trained else {})

    def _path(self, arm: Arm, seed: int) -> Path:
        name = hashlib.sha256(json.dumps(self._shaped_by(arm, seed), sort_keys=True).encode()).hexdigest()
        return self._runs / f"{name[:20]}.json"

    def _hearing(self, corpus: Path) -> str:
        """A name for this audio encoder's features of this corpus."""
        digest = hashlib.sha256((corpus / "train" / "curves.npy").read_bytes())
        for weight in self._model.audio_encoder.parameters():
            digest.update(weight.detach().numpy().tobytes())
        return digest.hexdigest()[:12]
