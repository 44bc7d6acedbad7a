"""Clips come into the review store: from a folder, from finished jobs, from jobs that are still to run.

A clip keeps its own copy of its video, its latents and the inputs it was made from, so that labels stay usable when
jobs are deleted. What a video says about itself is believed of nothing but files beside it, that are what it says and
are what they should be. Knows the studio's jobs; knows nothing about annotators.
"""

import csv
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select

from engine.contract.errors import FaceNotFound, UserError
from engine.contract.records import GenerationRecord, plain_name, read_record, without_places
from engine.contract.request import INPUT_FIELDS
from engine.contract.variants import find_variant
from studio.job_rows import PENDING, Job
from studio.jobs import LATENTS_NAME, JobStore
from studio.review.rows import ExpectedRow
from studio.review.store import Clip, ReviewStore

CLIP_NAME = "clip.mp4"
GOLD_NAME = "gold.csv"
CLIP_ID = re.compile(r"[0-9a-f]{64}")
MOST_HEADER = 2**20
"""Bytes of a file of tensors that describe them."""
COLLECT_EVERY_S = 1.0


@dataclass
class Imported:
    """What became of an import: the clips by id with their right answers, what was no clip of ours, what is missing."""

    clips: list[str] = field(default_factory=list)
    gold: list[dict[str, Any] | None] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    without_latents: int = 0
    without_inputs: int = 0


class ClipFolder:
    """The clips' own files, `<folder>/<clip id>/`, and the ways into it."""

    def __init__(
        self, folder: Path, store: ReviewStore, views: Mapping[str, Callable[[Path], object]] | None = None
    ) -> None:
        """`views` read a file as the medium of a request's field, and raise UserError for what is none."""
        self._folder = folder
        self._store = store
        self._views = views or {}
        folder.mkdir(parents=True, exist_ok=True)

    def video_of(self, clip_id: str) -> Path:
        """The clip's mp4."""
        return self.file_of(clip_id, CLIP_NAME)

    def file_of(self, clip_id: str, name: str) -> Path:
        """One of the files beside it. Raises UserError for what no clip of ours is called, or has a file called."""
        if not CLIP_ID.fullmatch(clip_id) or not name or name in (".", "..") or plain_name(name) != name:
            raise UserError(f"There is no clip file {clip_id[:80]}/{name[:80]}.", "clip")
        return self._folder / clip_id / name

    def told_place(self, clip_id: str, name: str) -> Path:
        """The same as others are told it: within the review's folder, wherever that is."""
        return Path("clips", self.file_of(clip_id, name).relative_to(self._folder))

    def take_folder(self, folder: Path) -> Imported:
        """Every mp4 in `folder` that was made here, its latents beside it as `<name>.safetensors`. Raises UserError.

        A `gold.csv` there, with the columns clip, verdict and issues (separated by spaces), gives right answers.
        """
        try:
            videos = sorted(path for path in folder.expanduser().iterdir() if path.suffix.lower() == ".mp4")
        except OSError as error:
            raise UserError(
                f"The folder {folder} cannot be read ({error.strerror}); choose another.", "folder"
            ) from error
        if not videos:
            raise UserError(f"{folder} holds no mp4; choose another folder.", "folder")
        gold = self._read_gold(folder.expanduser() / GOLD_NAME, {video.name for video in videos})
        done = Imported()
        for video in videos:
            try:
                if _within(video, video.parent) is None:
                    raise UserError(f"{video.name} lies elsewhere.", "folder")
                record = read_record(video)
                latents = _within(video.with_suffix(".safetensors"), video.parent)
                near = {name: self._near(video.parent, name, path, record) for name, path in _media(record).items()}
                clip = self.take(video, without_places(record), latents, near)
            except (UserError, OSError):
                done.refused.append(video.name)
                continue
            self._note(done, clip, gold.get(video.name))
        if not done.clips:
            raise UserError(f"None of the {len(videos)} videos in {folder} was made here; choose another.", "folder")
        return done

    def take_jobs(self, jobs: JobStore, chosen: Sequence[Job]) -> Imported:
        """The videos of finished jobs."""
        done = Imported()
        for job in chosen:
            clip = self.take_job(jobs, job)
            if clip is None:
                done.refused.append(job.request["out"])
            else:
                self._note(done, clip)
        return done

    def take_job(self, jobs: JobStore, job: Job) -> Clip | None:
        """The video of a finished job, or None where it has none any more."""
        video = jobs.result_of(job)
        if video is None or job.record is None:
            return None
        folder = jobs.folder_of(job.id)
        latents = folder / LATENTS_NAME
        request = jobs.request_of(job)
        media = {name: getattr(request, name) for name in INPUT_FIELDS if getattr(request, name) is not None}
        record = GenerationRecord.model_validate(job.record)
        return self.take(video, record, latents if latents.is_file() else None, media)

    def take(
        self, video: Path, record: GenerationRecord, latents: Path | None, media: Mapping[str, Path | None]
    ) -> Clip:
        """Copy one clip with its latents and those inputs that are what the record's hashes say. Raises UserError."""
        clip_id = sha256_of(video)
        folder = self._folder / clip_id
        folder.mkdir(exist_ok=True)
        files: dict[str, Any] = {"latents": None, "inputs": {}}
        for name, path in media.items():
            digest = sha256_of(path) if path is not None and path.is_file() else None
            if path is not None and digest is not None and record.inputs_sha256.get(name, digest) == digest:
                kept = f"{name}{path.suffix.lower()}"
                _copy(path, folder / kept)
                files["inputs"][name] = {"name": kept, "sha256": digest}
        if latents is not None:
            _copy(latents, folder / LATENTS_NAME)
            files["latents"] = {"name": LATENTS_NAME, "sha256": sha256_of(latents)}
        _copy(video, folder / CLIP_NAME)
        clip = Clip(
            id=clip_id,
            variant=find_variant(record.request.model).name,
            num_frames=record.num_frames,
            fps=record.fps,
            width_px=record.width_px,
            height_px=record.height_px,
            record=record.model_dump(mode="json"),
            files=files,
        )
        self._store.keep_clip(clip)
        return clip

    def _near(self, folder: Path, field: str, path: Path, record: GenerationRecord) -> Path | None:
        """The input beside the video that the record names: by its name alone, and only what reads as its medium."""
        found = _within(folder / plain_name(path), folder)
        if found is None or record.inputs_sha256.get(field) != sha256_of(found):
            return None
        if field not in self._views:
            return found if _holds_tensors(found) else None
        try:
            self._views[field](found)
        except FaceNotFound:  # a picture all the same
            return found
        except UserError:
            return None
        return found

    @staticmethod
    def _note(done: Imported, clip: Clip, gold: dict[str, Any] | None = None) -> None:
        done.clips.append(clip.id)
        done.gold.append(gold)
        done.without_latents += clip.files["latents"] is None
        record = GenerationRecord.model_validate(clip.record)
        done.without_inputs += set(clip.files["inputs"]) != set(_media(record))

    def _read_gold(self, path: Path, videos: set[str]) -> dict[str, dict[str, Any]]:
        if not path.is_file():
            return {}
        gold = {}
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, line in enumerate(csv.DictReader(lines), start=2):
                name, verdict = (line.get("clip") or "").strip(), (line.get("verdict") or "").strip()
                issues = (line.get("issues") or "").split()
                where = f"{path.name}, line {number}"
                if name not in videos:
                    raise UserError(f"{where}: there is no video {name!r} beside it.", "folder")
                if verdict not in ("good", "bad") or (verdict == "bad") != bool(issues):
                    raise UserError(f"{where}: the verdict is good, or bad with its issues; got {verdict!r}.", "folder")
                unknown = [issue for issue in issues if issue not in self._store.issues]
                if unknown:
                    raise UserError(f"{where}: unknown issue {unknown[0]!r}.", "folder")
                gold[name] = {"verdict": verdict, "issues": sorted(issues)}
        return gold


class Collector:
    """Takes what jobs make for batches as it gets ready, in a thread of its own."""

    def __init__(self, clips: ClipFolder, store: ReviewStore, jobs: JobStore) -> None:
        self._clips, self._store, self._jobs = clips, store, jobs
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="review-collector", daemon=True)

    def start(self) -> None:
        """Begin; jobs of an earlier process count too."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def expect(self, batch_id: int, job_id: str, pair: int | None = None, side: str | None = None) -> None:
        """The job's video belongs to the batch, as `side` "a" or "b" of the pair of that number if there is one."""
        with self._store.database.writing() as session:
            session.add(ExpectedRow(job_id=job_id, batch_id=batch_id, pair=pair, side=side))

    def waiting(self, batch_id: int) -> int:
        """How many jobs the batch still waits for."""
        with self._store.database.reading() as session:
            here = (ExpectedRow.batch_id == batch_id) & ExpectedRow.clip_id.is_(None)
            return session.scalar(select(func.count()).select_from(ExpectedRow).where(here)) or 0

    def collect(self) -> None:
        """Take what is ready. A job that ended without a video is waited for no longer, nor is its partner."""
        with self._store.database.reading() as session:
            expected = list(session.scalars(select(ExpectedRow)))
        for row in expected:
            if row.clip_id is None:
                self._look(row)
        pairs: dict[tuple[int, int], dict[str, ExpectedRow]] = {}
        for row in expected:
            if row.pair is not None and row.side is not None and row.clip_id is not None:
                pairs.setdefault((row.batch_id, row.pair), {})[row.side] = row
        for (batch_id, _), sides in pairs.items():
            if len(sides) == 2:
                assert sides["a"].clip_id is not None
                self._store.add_items(batch_id, [(sides["a"].clip_id, sides["b"].clip_id)])
                self._forget(*(row.job_id for row in sides.values()))

    def _look(self, row: ExpectedRow) -> None:
        job = self._jobs.find_any(row.job_id)
        if job is not None and (job.unfinished or job.state in PENDING):
            return
        clip = self._clips.take_job(self._jobs, job) if job is not None and job.state == "done" else None
        if clip is None:
            self._forget(row.job_id)
        elif row.pair is None:
            self._store.add_items(row.batch_id, [(clip.id, None)])
            self._forget(row.job_id)
        else:
            row.clip_id = clip.id
            with self._store.database.writing() as session:
                session.merge(row)

    def _forget(self, *job_ids: str) -> None:
        with self._store.database.writing() as session:
            session.execute(delete(ExpectedRow).where(ExpectedRow.job_id.in_(job_ids)))

    def _run(self) -> None:
        while not self._stopping.wait(COLLECT_EVERY_S):
            self.collect()


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _media(record: GenerationRecord) -> dict[str, Path]:
    request = record.request
    return {name: getattr(request, name) for name in INPUT_FIELDS if getattr(request, name) is not None}


def _within(path: Path, folder: Path) -> Path | None:
    """The file at `path`, if it really lies in or below `folder`: what a link leads to elsewhere is not taken."""
    real = path.resolve()
    return real if real.is_file() and real.is_relative_to(folder.resolve()) else None


def _holds_tensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and a header of JSON in it."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if 2 <= length <= min(MOST_HEADER, path.stat().st_size - 8) else b""
    try:
        return isinstance(json.loads(header), dict)
    except (ValueError, RecursionError):
        return False


def _copy(source: Path, target: Path) -> None:
    """A copy of its own: a link would let the original change what was labelled. Complete, or not there."""
    if target.exists():
        return
    fresh = target.with_name(f"{target.name}.new")
    fresh.unlink(missing_ok=True)
    shutil.copyfile(source, fresh)
    fresh.replace(target)
