"""One review tab: its store, its clips, what collects candidates and what trains, made from a data folder.

Knows nothing about HTTP or Gradio; `routes` and `studio.tabs` are thin layers over it.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import UserError
from engine.contract.request import SEED_LIMIT, GenerationRequest
from engine.contract.variants import name_of
from studio.job_rows import Job
from studio.review.clips import ClipFolder, Collector, Imported
from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.store import Batch, ReviewStore
from studio.service import Studio

MOST_CANDIDATES = 500
MOST_JOBS = 500


@dataclass(frozen=True)
class Candidates:
    """What is generated to be labelled: every picture with every voice, every prompt and `seeds` seeds.

    The seeds count on from `first_seed`, or from one that nobody chose.
    """

    images: Sequence[Path]
    voices: Sequence[Path]
    prompts: Sequence[str]
    seeds: int
    first_seed: int | None = None

    def requests(self) -> list[dict[str, Any]]:
        """Request values without the model, in order. Raises UserError where there is nothing, or too much."""
        if not self.images or not self.voices:
            raise UserError("Give at least one picture and one voice.", "images" if not self.images else "voices")
        if self.seeds < 1:
            raise UserError(f"Give at least one seed; got {self.seeds}.", "seeds")
        combined = itertools.product(self.images, self.voices, list(self.prompts) or [""], range(self.seeds))
        first = random.randrange(SEED_LIMIT - self.seeds) if self.first_seed is None else self.first_seed
        if not 0 <= first <= SEED_LIMIT - self.seeds:
            raise UserError(f"The first seed is 0 to {SEED_LIMIT - self.seeds}; got {first}.", "first_seed")
        values = [
            {"image": image, "audio": voice, "prompt": prompt, "seed": first + number}
            for image, voice, prompt, number in combined
        ]
        if len(values) > MOST_CANDIDATES:
            raise UserError(f"That makes {len(values)} clips; at most {MOST_CANDIDATES} at a time.", "seeds")
        return values


@dataclass(frozen=True)
class NewBatch:
    """Who adds a batch, how it is called (something fitting if empty), and how many annotators a clip it wants."""

    by: str
    title: str = ""
    overlap: int = 1
    stage: str = ""


class ReviewDesk:
    """Everything that the review tab does."""

    def __init__(self, studio: Studio, url: str | None = None) -> None:
        """Labels are kept in the database at `url`, or in the data folder. Raises UserError."""
        folder = studio.store.folder / "review"
        folder.mkdir(exist_ok=True)
        self.studio = studio
        self.store = ReviewStore(Database(url or f"sqlite:///{folder / 'review.sqlite'}"), read_issues())
        ports = studio.ports
        views: dict[str, Callable[[Path], object]] = {
            "image": ports.view_portrait,
            "last_image": ports.view_portrait,
            "video": ports.view_film,
            "audio": ports.view_voice,
        }
        self.clips = ClipFolder(folder / "clips", self.store, views)
        self.collector = Collector(self.clips, self.store, studio.store)
        self.trainings = studio.trainings

    def start(self) -> None:
        """Begin to collect."""
        self.collector.start()

    def close(self) -> None:
        """End, and let go of the database."""
        self.collector.stop()
        self.store.database.close()

    def import_folder(self, wanted: NewBatch, folder: Path) -> tuple[Batch, Imported]:
        """A batch of the videos in a folder of this machine. Raises UserError."""
        taken = self.clips.take_folder(folder)
        batch = self._add(wanted, folder.name)
        self.store.add_items(batch.id, [(clip_id, None) for clip_id in taken.clips], taken.gold)
        return batch, taken

    def import_jobs(self, wanted: NewBatch, owner: str, words: str) -> tuple[Batch, Imported]:
        """A batch of the owner's finished jobs whose prompt, files or seed hold all of `words`. Raises UserError."""
        finished = self.studio.store.recent(owner, limit=MOST_JOBS, states=("done",))
        chosen = [job for job in finished if _holds(job, words)]
        if not chosen:
            raise UserError("None of your finished videos matches; see the Library.", "words")
        taken = self.clips.take_jobs(self.studio.store, chosen)
        batch = self._add(wanted, words or "My videos")
        self.store.add_items(batch.id, [(clip_id, None) for clip_id in taken.clips])
        return batch, taken

    def generate(self, wanted: NewBatch, owner: str, model: str, candidates: Candidates) -> Batch:
        """A batch of clips that the studio's worker makes, in random order. Raises UserError.

        Where the queue is full before the end, the batch has what was queued until then.
        """
        checked = self._checked(model, candidates.requests())
        random.shuffle(checked)
        batch = self._add(wanted, f"Candidates of {Path(model).name}")
        for request in checked:
            self.collector.expect(batch.id, self.studio.queue(owner, request, any_model=True).id)
        return batch

    def compare(self, wanted: NewBatch, owner: str, models: tuple[str, str], candidates: Candidates) -> Batch:
        """A batch of pairs: the same clip by the first and by the second model. Raises UserError as `generate` does."""
        values = candidates.requests()
        pairs = list(zip(*(self._checked(model, values) for model in models), strict=True))
        random.shuffle(pairs)
        batch = self._add(wanted, "Before and after", sides=(name_of(models[0]), name_of(models[1])))
        for number, sides in enumerate(pairs):
            for side, request in zip("ab", sides, strict=True):
                self.collector.expect(batch.id, self.studio.queue(owner, request, any_model=True).id, number, side)
        return batch

    def _add(self, wanted: NewBatch, otherwise: str, sides: tuple[str, str] | None = None) -> Batch:
        return self.store.add_batch(
            wanted.title.strip() or otherwise,
            wanted.by,
            "label" if sides is None else "pairs",
            wanted.overlap,
            stage=wanted.stage,
            sides=sides or ("", ""),
        )

    def _checked(self, model: str, values: list[dict[str, Any]]) -> list[GenerationRequest]:
        """Every request; its files, of which there are few, are opened once."""
        first = self.studio.check({"model": model, **values[0]})
        requests = [self.studio.request_for({"model": model, **each}) for each in values]
        seen = {first.image, first.audio}
        for request in requests:
            if not {request.image, request.audio} <= seen:
                self.studio.check({"model": model, **request.model_dump(include={"image", "audio", "seed"})})
                seen |= {request.image, request.audio}
        return requests


def _holds(job: Job, words: str) -> bool:
    said = " ".join(str(job.request.get(name) or "") for name in ("prompt", "image", "audio", "video", "seed", "task"))
    return all(word in said.lower() for word in words.lower().split())
