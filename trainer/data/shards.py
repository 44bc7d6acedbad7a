"""Precomputed training data on disk: tar shards that webdataset reads, and the Parquet manifest that knows them all.

    FOLDER/manifest.parquet      a row for every clip and every rejected video, hashes of all that is in the shards
    FOLDER/GROUP/000000.tar      members KEY.safetensors; shard n of every group holds the same clips in one order

`webdataset.WebDataset("FOLDER/latents/{000000..000041}.tar")` streams a group; `Shards` gives any clip of any groups by
its number, so that sampling can be keyed by (seed, step, index). Every member's SHA-256 is checked when it is read.
Knows nothing about models or how the data were made (`trainer.prepare`).
"""

import hashlib
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from engine.contract.errors import UserError
from engine.media.inputs import file_sha256
from trainer.data.files import written_whole

MANIFEST = "manifest.parquet"
LAYOUT = 1
_DESCRIPTION = b"echomimic"
_SUFFIX = "safetensors"

Index = dict[str, Any]
"""A shard: `file` below the folder, `bytes`, `sha256`, and `members`: [{key, offset, size, sha256}]."""


def shard_file(group: str, number: int) -> str:
    """The path of a shard below the folder."""
    return f"{group}/{number:06d}.tar"


def write_shard(folder: Path, group: str, number: int, clips: Iterable[tuple[str, dict[str, Tensor]]]) -> Index:
    """Write the shard whole, replacing an older one; the same clips give the same bytes. Raises DiskFull."""
    from webdataset import TarWriter

    path, members = folder / shard_file(group, number), []
    with written_whole(path) as partial:
        with partial.open("wb") as file:
            writer = TarWriter(file, user="", group="", mtime=0.0, encoder=False)
            for key, tensors in clips:
                payload = save({name: tensor.contiguous() for name, tensor in sorted(tensors.items())})
                writer.write({"__key__": key, _SUFFIX: payload})
                members.append({"key": key, "size": len(payload), "sha256": hashlib.sha256(payload).hexdigest()})
            writer.close()
        with tarfile.open(partial) as tar:
            for member, entry in zip(members, tar.getmembers(), strict=True):
                member["offset"] = entry.offset_data
        written = {"bytes": partial.stat().st_size, "sha256": file_sha256(partial)}
    return {"file": shard_file(group, number), **written, "members": members}


def write_manifest(
    folder: Path, rows: Sequence[dict[str, Any]], shards: dict[str, list[Index]], about: dict[str, Any]
) -> None:
    """Write the manifest of `rows` (their values become columns) and of all shards by group; `about` goes with it."""
    places: dict[str, dict[str, Any]] = {}
    for group, indices in shards.items():
        for number, index in enumerate(indices):
            for member in index["members"]:
                place = {name: member[name] for name in ("offset", "size", "sha256")}
                places.setdefault(member["key"], {"shard": number})[group] = place
    columns = sorted({name for row in rows for name in row})
    table = {name: [row.get(name) for row in rows] for name in columns}
    table["shard"] = [places.get(row["key"], {}).get("shard") for row in rows]
    for group in shards:
        table[f"in_{group}"] = [places.get(row["key"], {}).get(group) for row in rows]
    files = {
        group: [{name: index[name] for name in ("file", "bytes", "sha256")} for index in indices]
        for group, indices in shards.items()
    }
    description = json.dumps({"layout": LAYOUT, "shards": files, "about": about}, sort_keys=True)
    arrow = pyarrow.table(table).replace_schema_metadata({_DESCRIPTION: description.encode()})
    with written_whole(folder / MANIFEST) as partial:
        pyarrow.parquet.write_table(arrow, partial, compression="zstd")


class Shards:
    """The accepted clips below a folder, in the manifest's order.

    `rows[i]` are a clip's values, `about` says what made it; `groups` are the features' names.
    """

    def __init__(self, folder: Path, groups: Sequence[str] | None = None) -> None:
        """Raises UserError where the manifest is missing or damaged, lacks one of `groups`, or the shards beside it are
        not those it lists (looked at by size; `check` reads them all)."""
        self.folder = folder
        description, rows = _read_manifest(folder / MANIFEST)
        self._files: dict[str, list[dict[str, Any]]] = description["shards"]
        self.about: dict[str, Any] = description["about"]
        self.groups = tuple(self._files if groups is None else groups)
        if lacking := [group for group in self.groups if group not in self._files]:
            raise UserError(
                f"{folder} holds no {lacking[0]}; it holds {', '.join(self._files) or 'no features'}. Run python -m "
                "trainer prepare for the model that is trained.",
                "data",
            )
        self.rows = [row for row in rows if row["status"] == "accepted" and row["shard"] is not None]
        for group in self.groups:
            for entry in self._files[group]:
                self._check_size(entry)

    def __len__(self) -> int:
        return len(self.rows)

    def clip(self, number: int) -> dict[str, dict[str, Tensor]]:
        """The tensors of clip `number` by group and name. Raises UserError where a shard is damaged."""
        row = self.rows[number]
        read = {}
        for group in self.groups:
            place, path = row[f"in_{group}"], self.folder / shard_file(group, row["shard"])
            try:
                with path.open("rb") as file:
                    file.seek(place["offset"])
                    payload = file.read(place["size"])
            except OSError as error:
                raise _damaged(path, f"it cannot be read ({error.strerror})") from error
            if hashlib.sha256(payload).hexdigest() != place["sha256"]:
                raise _damaged(path, f"clip {row['id']} ({row['key']}) is not what the manifest says")
            try:
                read[group] = load(payload)
            except SafetensorError as error:
                raise _damaged(path, f"clip {row['id']}: {error}") from error
        return read

    def check(self) -> None:
        """Read every shard of `groups` and compare hashes. Raises UserError for the first that differs."""
        for group in self.groups:
            for entry in self._files[group]:
                self._check_size(entry)
                path = self.folder / entry["file"]
                if file_sha256(path) != entry["sha256"]:
                    raise _damaged(path, "its SHA-256 is not the manifest's")

    def _check_size(self, entry: dict[str, Any]) -> None:
        path = self.folder / entry["file"]
        if not path.is_file():
            raise UserError(
                f"The shard {path} that the manifest lists is missing: run python -m trainer prepare again, which "
                "makes what is not there.",
                "data",
            )
        if path.stat().st_size != entry["bytes"]:
            raise _damaged(path, f"it has {path.stat().st_size} bytes, the manifest says {entry['bytes']}")


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"The shard {path} does not match the manifest: {why}. Delete the shard and run python -m trainer prepare "
        "again, which makes it anew.",
        "data",
    )


def _read_manifest(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if not path.is_file():
        raise UserError(f"There is no {path.name} in {path.parent}: make it with python -m trainer prepare.", "data")
    try:
        table = pyarrow.parquet.read_table(path)
        description = json.loads((table.schema.metadata or {})[_DESCRIPTION])
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise UserError(
            f"{path} is damaged or no manifest of ours ({type(error).__name__}): delete it and run python -m trainer "
            "prepare again.",
            "data",
        ) from error
    if description.get("layout") != LAYOUT:
        raise UserError(
            f"{path} has the layout {description.get('layout')}, this program reads {LAYOUT}: run python -m trainer "
            "prepare again.",
            "data",
        )
    return description, table.to_pylist()
