"""One preparation from a folder of videos to shards and manifest: videos → clips → copies out → features.

    OUT/manifest.parquet, OUT/GROUP/*.tar      what is trained on (`trainer.data.shards`)
    OUT/yield.md                               what was rejected, and why
    OUT/work/                                  journals and what stages keep: without it, all is done again

Everything goes on where it stopped, whoever does the work; the same videos and settings give the same bytes. Copies are
looked for behind all other stages, so that of two copies one that is otherwise sound stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from engine.contract.errors import UserError
from engine.contract.variants import Variant, find_variant
from trainer.data.files import room, sweep, writable_folder, written_whole
from trainer.data.shards import Index, write_manifest
from trainer.metrics.syncnet import SyncNet
from trainer.prepare.clip_stages import CLIP_STAGES
from trainer.prepare.duplicates import find_duplicates
from trainer.prepare.features import groups_of, make_shard, shard_jobs
from trainer.prepare.report import Yield
from trainer.prepare.rows import Row, Stage, Workshop, work_on
from trainer.prepare.settings import PrepareSettings
from trainer.prepare.sources import ListKind, caption_of, find_videos, read_captions, read_list
from trainer.prepare.video_stages import VIDEO_STAGES, clips_of
from trainer.prepare.workers import LocalWorkers, Workers

WORK = "work"
_NOT_IN_MANIFEST = {"content", "shots", "sound_track", "faces_file", "voice_file"}


@dataclass(frozen=True)
class Preparation:
    """What to prepare, and who does it: `workers` the stages, `encoders` the features."""

    source: Path
    out: Path
    settings: PrepareSettings
    list_kind: ListKind = "folder"
    list_path: Path | None = None
    captions: Path | None = None
    workers: Workers = field(default_factory=LocalWorkers)
    encoders: Workers = field(default_factory=LocalWorkers)


def prepare(asked: Preparation) -> Yield:
    """Do it, and return the yield.

    Raises UserError for bad input before any work is done, and DiskFull where there is no room.
    """
    settings = asked.settings
    variant = _checked_model(settings)
    captions = read_captions(asked.captions)
    videos, missing = read_list(asked.list_kind, asked.list_path, find_videos(asked.source))
    with room(asked.out):
        writable_folder(asked.out)
    try:
        with FileLock(asked.out / ".lock", timeout=0):
            rows = _checked(asked, videos, captions)
            shards = _features(asked, variant, rows) if variant else {}
            listed = [{name: row[name] for name in row if name not in _NOT_IN_MANIFEST} for row in rows]
            write_manifest(asked.out, listed, shards, _about(settings, variant))
            result = Yield(rows, _stage_names(), missing)
            with written_whole(asked.out / "yield.md") as partial_file:
                partial_file.write_text(result.text())
            return result
    except Timeout as error:
        raise UserError(
            f"Another preparation is at work in {asked.out}; wait for it or choose another.", "out"
        ) from error


def _checked_model(settings: PrepareSettings) -> Variant | None:
    """The model whose features are wanted; what it and SyncNet lack is said before any work."""
    if settings.sync == "syncnet":
        if settings.syncnet is None:
            raise UserError(
                "SyncNet's weights are not ours to give: name syncnet_v2.model with --syncnet, or use --sync mesh.",
                "syncnet",
            )
        SyncNet.load(settings.syncnet)
    if not settings.features:
        return None
    variant = find_variant(settings.model)
    if not variant.is_installed:
        raise UserError(
            f"The model {variant.name} is not installed in {variant.folder}: python -m engine models download "
            f"{variant.name}, or choose nano, or --no-features.",
            "model",
        )
    return variant


def _checked(asked: Preparation, videos: list[Row], captions: dict[str, str]) -> list[Row]:
    """The rows of the manifest, by `id`: rejected videos, and clips with their captions."""
    workshop = Workshop(asked.source, asked.out / WORK, asked.settings)
    sweep(asked.out)
    done = _through(asked.workers, VIDEO_STAGES, videos, workshop, "videos")
    rows = [row for row in done if row["status"] == "rejected"]
    clips = [
        clip
        for row in done
        if row["status"] == "accepted"
        for clip in clips_of(row, asked.settings.clip_frames, asked.settings.min_frames)
    ]
    through = _through(asked.workers, CLIP_STAGES, clips, workshop, "clips")
    copies = find_duplicates([clip for clip in through if clip["status"] == "accepted"])
    for clip in through:
        if clip["id"] in copies:
            clip |= {"status": "rejected", "stage": "duplicates", "reason": "duplicate"}
            clip["detail"] = f"Shows and says the same as {copies[clip['id']]}."
    rows = sorted([*rows, *through], key=lambda row: row["id"])
    return [row | {"caption": caption_of(row, captions)} for row in rows]


def _through(workers: Workers, stages: Sequence[Stage], rows: list[Row], workshop: Workshop, name: str) -> list[Row]:
    work = partial(work_on, stages=tuple(stages), workshop=workshop)
    return sorted(_shown(workers.do(work, rows), len(rows), name), key=lambda row: row["id"])


def _features(asked: Preparation, variant: Variant, rows: list[Row]) -> dict[str, list[Index]]:
    """The shards by group, those of an earlier run that no longer belong removed."""
    workshop = Workshop(asked.source, asked.out / WORK, asked.settings)
    clips = [row for row in rows if row["status"] == "accepted"]
    shards: dict[str, list[Index]] = {}
    for group, jobs in zip(groups_of(variant), shard_jobs(variant, clips, asked.out, workshop), strict=True):
        made = _shown(asked.encoders.do(partial(make_shard, workshop=workshop), jobs), len(jobs), group.name)
        shards[group.name] = sorted(made, key=lambda index: index["file"])
    belonging = {asked.out / index["file"] for indices in shards.values() for index in indices}
    for shard in asked.out.glob("*/[0-9]*.tar"):
        if shard not in belonging:
            shard.unlink()
    return shards


def _shown(answers: Iterable[Any], total: int, name: str) -> Iterable[Any]:
    """`answers` with a bar on a terminal."""
    return tqdm(answers, total=total, desc=name, disable=None, leave=False)


def _about(settings: PrepareSettings, variant: Variant | None) -> dict[str, Any]:
    stages = {stage.name: stage.version for stage in (*VIDEO_STAGES, *CLIP_STAGES)}
    groups = {group.name: group.version for group in groups_of(variant)} if variant else {}
    return {
        "settings": settings.model_dump(mode="json"),
        "model": variant.name if variant else None,
        "stages": stages,
        "groups": groups,
    }


def _stage_names() -> tuple[str, ...]:
    return (*(stage.name for stage in (*VIDEO_STAGES, *CLIP_STAGES)), "duplicates")
