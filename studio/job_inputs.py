"""A job's own copies of its inputs: how they are called, and what is said where one cannot be copied."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.contract.errors import UserError
from engine.contract.request import INPUT_FIELDS, GenerationRequest
from studio.private_files import DISK_IS_FULL, FULL_DISK


def copied(request: GenerationRequest, folder: Path) -> dict[str, Any]:
    """Make `folder` and copy the request's media into it: the request with the copies' names, as a job's row keeps it.

    Raises UserError for the field whose file cannot be read.
    """
    folder.mkdir()
    kept = request.model_dump(mode="json")
    for name in INPUT_FIELDS:
        source = getattr(request, name)
        if source is None:
            continue
        kept[name] = f"{name}-{_plain(_named(name, source))}{source.suffix.lower()}"
        try:
            shutil.copyfile(source, folder / kept[name])
        except OSError as error:
            if error.errno in DISK_IS_FULL:
                raise UserError(FULL_DISK) from error
            raise UserError(f"{source.name} cannot be read ({error.strerror}); choose it again.", name) from error
    day = datetime.now(UTC).strftime("%Y%m%d")
    named_after = next(name for name in ("image", "video", "audio") if getattr(request, name) is not None)
    kept["out"] = f"{_plain(_named(named_after, getattr(request, named_after)))}-{day}-{request.seed}.mp4"
    return kept


def _named(field: str, source: Path) -> str:
    """What the user called the file: the copy of a copy that a job has is not named twice after its field."""
    return source.stem.removeprefix(f"{field}-")


def _plain(stem: str) -> str:
    """A file stem that every file system and every download dialogue accepts."""
    return re.sub(r"[^\w-]+", "-", stem).strip("-")[:60] or "file"
