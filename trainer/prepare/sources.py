"""Which videos there are: a folder, or a folder with one of two published lists of moments and faces.

    folder          every video below it
    HDTF            *_annotion_time.txt: `NAME.mp4 MM:SS-MM:SS …`; *_crop_wh.txt: `NAME_CLIP.mp4 x width y height` in
                    pixels; *_resolution.txt: `NAME.mp4 HEIGHT`, the picture height that those pixels belong to
    EchoMimicV2     CSV `URL,Start Timecode,End Timecode`; a video is named by the 11 letters behind `v=` in its URL

The lists hold no videos: get them where their owners allow it, and name them as above. Rows come in the order of `id`,
which is the path below the folder. Captions come from a file of their own.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from engine.contract.errors import UserError
from trainer.prepare.rows import Row, key_of, stamp_of

VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"}
ENDS_BYTES = 2**18
"""So much of a file's beginning and of its end is looked at to tell whether it is another."""
ListKind = Literal["folder", "hdtf", "echomimicv2"]


def find_videos(source: Path) -> list[Row]:
    """A row {id, key, content} for every video below `source`. Raises UserError where there is none.

    `content` stands for what is in the file, so that one that is replaced under its name is worked on anew.
    """
    if not source.is_dir():
        raise UserError(f"The folder {source} does not exist; give the folder that holds the videos.", "source")
    paths = (path for path in source.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    names = sorted(path.relative_to(source).as_posix() for path in paths if not path.name.startswith("."))
    if not names:
        kinds = ", ".join(sorted(suffix[1:] for suffix in VIDEO_SUFFIXES))
        raise UserError(f"No video is in {source} (looked for {kinds}).", "source")
    return [{"id": name, "key": key_of(name), "content": _content(source / name)} for name in names]


def _content(path: Path) -> str:
    """Of a file's size and both its ends: hashing it all would read every video anew on every run. Empty where it may
    not be read, which the first stage says."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            ends = file.read(ENDS_BYTES)
            file.seek(max(0, size - ENDS_BYTES))
            return stamp_of([size, hashlib.sha256(ends + file.read(ENDS_BYTES)).hexdigest()])
    except OSError:
        return ""


def read_list(kind: ListKind, path: Path | None, videos: list[Row]) -> tuple[list[Row], list[str]]:
    """Rows of the listed moments, and the names of listed videos that are not there.

    A row of a list carries `span_s` [start, end] and, for HDTF, perhaps `crop_px` [x, y, width, height] with
    `crop_of_height_px`. With the kind "folder", `videos` as they are. Raises UserError for a list that cannot be read
    or names none of the videos.
    """
    if kind == "folder":
        return videos, []
    if path is None:
        raise UserError(f"The kind {kind} needs a list: name it with --list.", "list")
    if not path.exists():
        raise UserError(f"The list {path} does not exist; give the {kind} list with --list.", "list")
    try:
        listed = _hdtf(path) if kind == "hdtf" else _echomimicv2(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"The list {path} cannot be read ({reason}); give {kind}'s list with --list.", "list") from None
    by_stem = {Path(row["id"]).stem: row for row in videos}
    rows = []
    for stem, index, fields in listed:
        if stem in by_stem:
            identity = f"{by_stem[stem]['id']}@{index}"
            video = by_stem[stem]
            whole = {"id": identity, "key": key_of(identity), "file": video["id"], "content": video["content"]}
            rows.append(whole | fields)
    missing = sorted({stem for stem, _, _ in listed} - set(by_stem))
    if not rows:
        raise UserError(
            f"None of the {len(missing)} videos that {path.name} lists is there (the first: {missing[0]}.mp4).", "list"
        )
    return sorted(rows, key=lambda row: row["id"]), missing


def _hdtf(folder: Path) -> list[tuple[str, int, Row]]:
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; give the folder HDTF_dataset that holds *_annotion_time.txt.", "list")
    crops: dict[str, list[float]] = {}
    heights: dict[str, float] = {}
    for path in sorted(folder.glob("*_crop_wh.txt")):
        for words in _lines(path):
            x, width, y, height = (_number(word, path) for word in words[1:5])
            crops[Path(words[0]).stem] = [x, y, width, height]
    for path in sorted(folder.glob("*_resolution.txt")):
        heights |= {Path(words[0]).stem: _number(words[1], path) for words in _lines(path)}
    listed = []
    for path in sorted(folder.glob("*_annotion_time.txt")):
        for words in _lines(path):
            stem = Path(words[0]).stem
            for index, span in enumerate(words[1:]):
                fields: Row = {"span_s": [_seconds(time, path) for time in span.split("-")]}
                if f"{stem}_{index}" in crops and stem in heights:
                    fields |= {"crop_px": crops[f"{stem}_{index}"], "crop_of_height_px": heights[stem]}
                listed.append((stem, index, fields))
    if not listed:
        raise UserError(f"{folder} holds no *_annotion_time.txt; give the folder HDTF_dataset.", "list")
    return listed


def _echomimicv2(path: Path) -> list[tuple[str, int, Row]]:
    listed: list[tuple[str, int, Row]] = []
    counts: dict[str, int] = {}
    for row in _table(path, ("URL", "Start Timecode", "End Timecode")):
        found = re.search(r"(?:v=|youtu\.be/)([\w-]{11})", row["URL"])
        if found is None:
            raise UserError(f"{path.name}: the URL {row['URL']!r} names no video (…watch?v=…).", "list")
        index = counts.get(found[1], 0)
        counts[found[1]] = index + 1
        span = [_seconds(row["Start Timecode"], path), _seconds(row["End Timecode"], path)]
        listed.append((found[1], index, {"span_s": span}))
    if not listed:
        raise UserError(f"{path.name} lists nothing.", "list")
    return listed


def read_captions(path: Path | None) -> dict[str, str]:
    """Captions by a video's path below the source folder, or its name with or without ending.

    The file is JSON ({"video": "caption"}), JSON Lines or CSV (columns `video` and `caption`). Raises UserError.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise UserError(f"The captions {path} do not exist; check the path.", "captions")
    try:
        if path.suffix == ".csv":
            return {row["video"]: row["caption"] for row in _table(path, ("video", "caption"))}
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
            return {str(line["video"]): str(line["caption"]) for line in lines}
        return {str(video): str(caption) for video, caption in json.loads(text).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'The captions in {path.name} cannot be read ({error}); write JSON {{"video": "caption"}}, or JSON Lines '
            "or CSV with `video` and `caption`.",
            "captions",
        ) from error


def caption_of(row: Row, captions: dict[str, str]) -> str:
    """The caption of a row's video; empty where there is none."""
    path = Path(str(row.get("file", row["id"])))
    return next((captions[name] for name in (path.as_posix(), path.name, path.stem) if name in captions), "")


def _lines(path: Path) -> Iterable[list[str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if words := line.split():
            if len(words) < 2:
                raise UserError(f"{path.name}: the line {line!r} holds a name and nothing else.", "list")
            yield words


def _table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise UserError(f"{path.name} lacks the column {missing[0]!r}; it has {reader.fieldnames}.", "list")
        return list(reader)


def _seconds(text: str, path: Path) -> float:
    """`MM:SS`, `HH:MM:SS` or `HH:MM:SS.mmm` in seconds."""
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + _number(part, path)
    return total


def _number(text: str, path: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path.name}: {text!r} is not a number; restore the list.", "list") from None
