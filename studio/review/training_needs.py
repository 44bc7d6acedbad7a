"""What a training on labels needs, looked at before anything starts: labels of its model, speech beside them, room.

Knows the files, not how they are learned from. What is missing is said in whole sentences, for people without a command
line.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import UserError
from engine.contract.unlearning import (
    BUNDLED_SPEECH,
    HELD_OUT_SPLIT,
    INDEX_NAME,
    TRAIN_SPLIT,
    find_speech,
    is_speech,
)
from engine.contract.variants import FPS, TRANSFORMER_WEIGHTS, find_variant
from studio.programs import ROOT
from studio.review.clips import ClipFolder
from studio.review.export import labelled, negative_of
from studio.review.store import ReviewStore
from studio.words import tr

BYTES_PER_FRAME = 2 * 128 * 2
"""A video frame's audio features as the trainer keeps them: two versions of 128 halves."""
RUN_BYTES = 100 * 2**20
"""A run's model, average and optimiser, with room to replace them."""


@dataclass(frozen=True)
class Usable:
    """The labels that one model can learn from, as lines of JSON: `bad` of them, and what was left out."""

    lines: tuple[str, ...]
    bad: int
    other_model: int
    without_latents: int

    def told(self) -> str:
        """Both numbers and the reasons, in one line."""
        used = tr("{count} bad clips of this model are learned from.", count=self.bad) if self.bad else ""
        reasons = [
            tr(words, count=count)
            for words, count in (
                ("{count} made by another model", self.other_model),
                ("{count} that kept no latents", self.without_latents),
            )
            if count
        ]
        left_out = tr("Left out: {reasons}.", reasons=", ".join(reasons)) if reasons else ""
        return f"{used} {left_out}".strip()


@dataclass(frozen=True)
class Needs:
    """What was found (`there`), and what is missing; nothing may start while something is."""

    usable: Usable
    speech: Path
    there: tuple[str, ...]
    missing: tuple[str, ...]


def look(
    store: ReviewStore,
    clips: ClipFolder,
    model: str,
    runs: Path,
    *,
    batch_id: int | None = None,
    issue: str | None = None,
) -> Needs:
    """Everything that a block on these labels needs, however much is missing. Raises UserError for an unknown model."""
    variant = find_variant(model.strip())
    if not variant.is_nano:
        raise UserError(tr("Only nano learns from this page; choose nano, or a folder of one."), "train")
    weights = variant.folder / TRANSFORMER_WEIGHTS
    if not weights.is_file():
        raise UserError(tr("There is no model in {folder}; choose another.", folder=variant.folder), "train")
    usable = _usable(store, clips, hashlib.sha256(weights.read_bytes()).hexdigest(), batch_id, issue)
    speech = find_speech(at=ROOT)
    there, missing = [], []
    if usable.bad:
        there.append(usable.told())
    else:
        nothing = tr("No clip of this model was marked as bad; label some first.")
        missing.append(f"{nothing} {usable.told()}".strip())
    if is_speech(speech):
        minutes = _frames(speech) / FPS / 60
        where = tr("that come with the studio") if speech == BUNDLED_SPEECH else str(speech)
        there.append(tr("Beside them, {minutes} minutes of speech {where}.", minutes=f"{minutes:,.0f}", where=where))
        room = shutil.disk_usage(_there_is(runs)).free
        wanted = RUN_BYTES + BYTES_PER_FRAME * _frames(speech)
        if room < wanted:
            sizes = {"wanted": f"{wanted / 2**20:,.0f}", "room": f"{room / 2**20:,.0f}", "folder": runs}
            missing.append(tr("A training needs {wanted} MB; {folder} has {room} MB left. Free some space.", **sizes))
    else:
        words = "There is no speech to learn beside the labels in {folder}; install the studio's files again."
        missing.append(tr(words, folder=BUNDLED_SPEECH))
    return Needs(usable, speech, tuple(there), tuple(missing))


def _usable(store: ReviewStore, clips: ClipFolder, maker: str, batch_id: int | None, issue: str | None) -> Usable:
    lines, bad, other, bare = [], 0, 0, 0
    for rows, marks in labelled(store, batch_id, issue):
        answer, _, clip = rows
        if not _made_by(clip.record, maker):
            other += answer.verdict == "bad"
        elif not clip.files["latents"]:
            bare += answer.verdict == "bad"
        else:
            bad += answer.verdict == "bad"
            lines.append(negative_of(store, clips, rows, marks).model_dump_json())
    return Usable(tuple(lines), bad, other, bare)


def _made_by(record: dict[str, Any], maker: str) -> bool:
    """With a LoRA it was made by another model, though the weights beneath it are the same."""
    return record["checkpoint_sha256"] == maker and not record["request"].get("lora")


def _frames(speech: Path) -> int:
    """Of both splits."""
    ends = []
    for split in (TRAIN_SPLIT, HELD_OUT_SPLIT):
        last = json.loads((speech / split / INDEX_NAME).read_text(encoding="utf-8"))[-1]
        ends.append(last["first_frame"] + last["frames"])
    return sum(ends)


def _there_is(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())
