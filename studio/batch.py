"""Many jobs from files: a table with one job a line, or a folder in which a picture and its voice share a name.

Knows nothing about Gradio or the store: files in, request values out.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.contract.errors import UserError
from engine.contract.request import GenerationRequest
from studio.examples import PICTURE_SUFFIXES, SOUND_SUFFIXES

FIELD = "batch"
MEDIA = ("image", "last_image", "video", "audio")
MOST_JOBS = 200
COLUMNS = frozenset(
    {*GenerationRequest.model_fields} - {"settings", "settings_by_step", "out", "lora", "redo_latents", "motion"}
)
Row = tuple[dict[str, Any], dict[str, Any]]
"""Request values, and settings by dotted name."""


def read_batch(files: Sequence[Path], task: str) -> list[Row]:
    """The jobs that `files` ask for, in order. Raises UserError that says which line or file is wrong."""
    tables = [path for path in files if path.suffix.lower() == ".csv"]
    rows = _from_table(tables[0], files, task) if tables else _from_folder(files, task)
    if not rows:
        raise UserError(
            "Nothing to do: give a CSV with one job a line, or pictures and voices of the same names.", FIELD
        )
    if len(rows) > MOST_JOBS:
        raise UserError(f"A batch holds at most {MOST_JOBS} jobs; this one has {len(rows)}, split it.", FIELD)
    return rows


def _from_table(table: Path, files: Sequence[Path], task: str) -> list[Row]:
    """Columns are request fields and settings by their dotted names; media are names of files that came along."""
    try:
        lines = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table.name} is not a CSV in UTF-8; save it as one.", FIELD) from error
    by_name = {path.name: path for path in files}
    rows = []
    for number, line in enumerate(lines, start=2):
        if None in line:
            raise UserError(f"{table.name}, line {number}: more values than columns; quote what holds a comma.", FIELD)
        given = {name.strip(): value.strip() for name, value in line.items() if value and value.strip()}
        values: dict[str, Any] = {"task": task} | {name: given[name] for name in given if name in COLUMNS}
        for name in MEDIA:
            if name in values:
                if values[name] not in by_name:
                    raise UserError(f"{table.name}, line {number}: {values[name]} was not given; add the file.", FIELD)
                values[name] = by_name[values[name]]
        rows.append((values, {name: value for name, value in given.items() if name not in COLUMNS}))
    return rows


def _from_folder(files: Sequence[Path], task: str) -> list[Row]:
    """A picture and a voice of one name make a job; a single picture speaks with every voice."""
    pictures = {path.stem: path for path in sorted(files) if path.suffix.lower() in PICTURE_SUFFIXES}
    voices = {path.stem: path for path in sorted(files) if path.suffix.lower() in SOUND_SUFFIXES}
    if len(pictures) == 1:
        (only,) = pictures.values()
        return [({"task": task, "image": only, "audio": voice}, {}) for voice in voices.values()]
    lonely = sorted(set(pictures) ^ set(voices))
    if lonely:
        raise UserError(f"{lonely[0]} has no partner: a picture and its voice must have the same name.", FIELD)
    return [({"task": task, "image": pictures[stem], "audio": voices[stem]}, {}) for stem in pictures]
