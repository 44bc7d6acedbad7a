"""From clips to tensors: which groups of features a model trains on, and the shards they are written to.

A group is a name, a version and a function; its encoder is loaded when the group begins and let go when the next one
does, because umT5 alone fills a GPU. A shard is made by one job and is the unit of resuming: beside the rows lies, for
each, what it was made from. Knows the two model families by name only.
"""

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.contract.variants import Variant, find_variant
from engine.media.inputs import file_sha256
from trainer.data.files import written_whole
from trainer.data.shards import Index, write_shard
from trainer.prepare.rows import Row, Workshop, stamp_of

Make = Callable[[Row, Workshop], dict[str, Tensor]]


@dataclass(frozen=True)
class FeatureGroup:
    """`load(folder, size_px)` reads the encoder in a model's folder and returns what makes a clip's tensors with it.

    `files` are the encoder's files below the folder, whose hashes are part of the stamp.
    """

    name: str
    version: int
    files: tuple[Path, ...]
    load: Callable[[Path, int], Make]


def groups_of(variant: Variant) -> tuple[FeatureGroup, ...]:
    """The groups that `variant` trains on."""
    if variant.name == "nano":
        from trainer.prepare.nano_features import NANO_GROUPS

        return NANO_GROUPS
    from trainer.prepare.released_features import released_groups

    return released_groups(variant.name)


def model_stamp(variant: Variant, group: FeatureGroup, size_px: int) -> str:
    """What a group's features depend on beside the clip."""
    hashes = [file_sha256(variant.folder / file) for file in group.files if (variant.folder / file).is_file()]
    return stamp_of([group.name, group.version, variant.name, hashes, None if variant.is_nano else size_px])


def shard_jobs(variant: Variant, clips: list[Row], out: Path, workshop: Workshop) -> Iterator[list[dict[str, Any]]]:
    """The jobs of each group in turn, one for a shard; `make_shard` does them. Clips keep their order."""
    size = workshop.settings.shard_clips
    for group in groups_of(variant):
        model = model_stamp(variant, group, workshop.settings.size_px)
        jobs = []
        for number, start in enumerate(range(0, len(clips), size)):
            rows = clips[start : start + size]
            made_of = [[row["key"], row["stamp"], row["caption"]] for row in rows]
            jobs.append(
                {
                    "group": group.name,
                    "number": number,
                    "rows": rows,
                    "out": str(out),
                    "stamp": stamp_of([model, made_of]),
                }
            )
        yield jobs


def make_shard(job: dict[str, Any], workshop: Workshop) -> Index:
    """The shard that `job` describes, made unless it is there and was made from the same."""
    out, note = Path(job["out"]), workshop.folder / "shards" / job["group"] / f"{job['number']:06d}.json"
    if note.exists():
        before = json.loads(note.read_text())
        path = out / before["index"]["file"]
        if before["stamp"] == job["stamp"] and path.is_file() and path.stat().st_size == before["index"]["bytes"]:
            return before["index"]
    variant = find_variant(workshop.settings.model)
    make = _loaded(variant, job["group"], workshop.settings.size_px)
    clips = ((row["key"], make(row, workshop)) for row in job["rows"])
    with torch.inference_mode():
        index = write_shard(out, job["group"], job["number"], clips)
    with written_whole(note) as partial:
        partial.write_text(json.dumps({"stamp": job["stamp"], "index": index}))
    return index


@lru_cache(maxsize=1)
def _encoder(folder: Path, name: str, group_name: str, size_px: int) -> Make:
    variant = find_variant(str(folder))
    assert variant.name == name
    group = next(group for group in groups_of(variant) if group.name == group_name)
    return group.load(folder, size_px)


_last: list[tuple] = []


def _loaded(variant: Variant, group_name: str, size_px: int) -> Make:
    """The encoder of a group; that of the group before is let go first."""
    wanted = (variant.folder, variant.name, group_name, size_px)
    if _last != [wanted]:
        _encoder.cache_clear()
        gc.collect()
        _last[:] = [wanted]
    return _encoder(*wanted)


def halved(tensor: Tensor) -> Tensor:
    """`tensor` on the CPU in half precision, where its numbers fit; in single precision where they do not."""
    half = tensor.detach().cpu().half()
    return half if bool(half.isfinite().all()) else tensor.detach().cpu().float()
