"""Which weight files the user brings for the canonical metrics, and whether they are the published ones.

A metric keeps its name only with the weights that made the name: a file is hashed before anything reads it, and one
whose hash is not listed is refused. Nothing is downloaded. The user's file, whatever of it there is:

    syncnet: nets/syncnet_v2.model
    inception: nets/inception-2015-12-05.pt
    i3d: nets/i3d_torchscript.pt
    q_align: {python: envs/q-align/bin/python, model: nets/one-align, device: "cuda:0"}
    vbench2: {python: envs/vbench2/bin/python, repository: VBench/VBench-2.0, dimensions: [Human_Anatomy]}
"""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.contract.errors import UserError

PUBLISHED = Path(__file__).parent / "published_weights.yaml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QAlign(_Section):
    """Q-Align in an environment of its own: its Python, the folder of the model's files, where it computes."""

    python: Path
    model: Path
    device: str = "cuda:0"


class VBench2(_Section):
    """VBench-2.0 in an environment of its own: its Python, the folder of its repository, the dimensions to score."""

    python: Path
    repository: Path
    dimensions: tuple[str, ...] = Field(default=("Human_Anatomy", "Human_Identity", "Human_Clothes"), min_length=1)


class CanonicalWeights(_Section):
    """The user's file: what is left out is not measured."""

    syncnet: Path | None = None
    inception: Path | None = None
    i3d: Path | None = None
    q_align: QAlign | None = None
    vbench2: VBench2 | None = None


def read_weights(path: Path) -> CanonicalWeights:
    """The user's file of weights, YAML; paths in it are relative to it. Raises UserError where it is not one."""
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        weights = CanonicalWeights.model_validate(given)
    except FileNotFoundError:
        raise UserError(f"The file of weights {path} does not exist; check the path.", "weights") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"The file of weights {path} cannot be read: {_line(error)}", "weights") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        raise UserError(f"In the file of weights {path.name}, {place}: {first['msg']}.", "weights") from None
    return CanonicalWeights.model_validate(_absolute(weights.model_dump(), path.parent))


def _absolute(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {
        name: folder / value
        if isinstance(value, Path)
        else _absolute(value, folder)
        if isinstance(value, dict)
        else value
        for name, value in values.items()
    }


def published_hashes(kind: str, published: Path = PUBLISHED) -> frozenset[str]:
    """The SHA-256 of every file that a metric of `kind` may be named after. Raises UserError for an unreadable list."""
    try:
        listed = yaml.safe_load(published.read_text(encoding="utf-8"))[kind]
        return frozenset(entry["sha256"].lower() for entry in listed)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"The list of published weights {published} cannot be used ({_line(error)}): it needs a list of sha256 "
            f"under {kind}.",
            "published",
        ) from None


def check_published(path: Path, kind: str, published: Path = PUBLISHED) -> str:
    """The SHA-256 of the weights at `path`, which `kind` is named after. Raises UserError where they are others.

    Of a folder every weight file must be a published one; its hash is that of their hashes in the order of names.
    """
    if not path.exists():
        raise UserError(f"The weights {path} for {kind} do not exist; check the file of weights.", "weights")
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in (".safetensors", ".bin", ".pt", ".pth"))
        if not files:
            raise UserError(f"The folder {path} for {kind} holds no weight files.", "weights")
    known, hashes = published_hashes(kind, published), []
    for file in files:
        hashes.append(_sha256(file))
        if hashes[-1] not in known:
            where = f"its list in {published.name} is empty" if not known else f"not one of those in {published.name}"
            raise UserError(
                f"{file.name} has the SHA-256 {hashes[-1]}, {where}: {kind}'s metrics keep their names only with the "
                "published weights. Get those, or add the hash there if its authors publish it.",
                "weights",
            )
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"The weights {path} cannot be read ({error.strerror}).", "weights") from None


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
