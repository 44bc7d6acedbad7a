"""Labels leave the review store: negatives for the trainer, preferences as a table, tasks for Label Studio.

So do the clips themselves, for whoever labels by a rule.

Gold items are left out: their answers test the annotators. So are skips. Knows nothing about pages or who may export.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from engine.contract.records import GenerationRecord, NegativeRecord, StoredFile, request_without_places, without_places
from engine.contract.variants import name_of
from studio.review.clips import CLIP_NAME, ClipFolder
from studio.review.labels import Mark, negative_issue
from studio.review.rows import AnswerRow, BatchRow, ClipRow, ItemRow
from studio.review.store import ReviewStore

PAIR_COLUMNS = (
    *("batch", "pair", "annotator", "preferred", "side_a", "side_b", "clip_a", "clip_b"),
    *("checkpoint_a", "checkpoint_b", "prompt", "seed", "created_utc"),
)

Labelled = tuple[AnswerRow, BatchRow, ClipRow]
Place = Callable[[str, str], Path]
"""What a clip's file is told as: `ClipFolder.told_place` in what leaves, `ClipFolder.file_of` on the own machine."""


def negatives(
    store: ReviewStore,
    clips: ClipFolder,
    batch_id: int | None = None,
    issue: str | None = None,
    *,
    place: Place | None = None,
) -> Iterator[NegativeRecord]:
    """Every answer as the trainer reads it, of one batch or of all; with `issue`, only what is marked with it.

    Files are told by where they are, or as `place` says.
    """
    for rows, marks in labelled(store, batch_id, issue):
        yield negative_of(store, clips, rows, marks, place=place)


def labelled(
    store: ReviewStore, batch_id: int | None = None, issue: str | None = None
) -> Iterator[tuple[Labelled, dict[str, Any]]]:
    """Every answer about a clip, with those of its marks whose issue the list still has; see `negatives`."""
    for answer, _, batch, clip in _answers(store, batch_id, "label"):
        if issue is not None and issue not in answer.marks:
            continue
        # An issue that the list no longer has cannot be said to belong to a phase.
        marks = {name: mark for name, mark in answer.marks.items() if name in store.issues}
        if answer.verdict == "bad" and not marks:
            continue
        yield (answer, batch, clip), marks


def negative_of(
    store: ReviewStore,
    clips: ClipFolder,
    rows: Labelled,
    marks: dict[str, Any],
    *,
    place: Place | None = None,
) -> NegativeRecord:
    """One answer about a clip as the trainer reads it."""
    where = place or clips.file_of
    answer, batch, clip = rows
    record = GenerationRecord.model_validate(clip.record)

    def stored(entry: dict[str, str]) -> StoredFile:
        return StoredFile(path=where(clip.id, entry["name"]), sha256=entry["sha256"])

    return NegativeRecord(
        clip_id=clip.id,
        latents=stored(clip.files["latents"]) if clip.files["latents"] else None,
        checkpoint_sha256=record.maker_sha256,
        variant=clip.variant,  # type: ignore[arg-type]
        task=record.request.task,
        request=request_without_places(record.request),
        settings_by_step=record.settings_by_step,
        inputs={name: stored(entry) for name, entry in clip.files["inputs"].items()},
        stage=batch.stage,
        fps=clip.fps,
        verdict=answer.verdict,  # type: ignore[arg-type]
        issues=tuple(
            negative_issue(store.issues[name], Mark.model_validate(mark), clip.num_frames, clip.fps)
            for name, mark in marks.items()
        ),
        note=answer.note,
        annotator=answer.annotator,
        created_utc=datetime.fromtimestamp(answer.answered_s, UTC),
    )


def preferences_csv(store: ReviewStore, batch_id: int | None = None) -> str:
    """Every preference, a line each. `preferred` is a, b or tie, whichever side it was shown on."""
    file = io.StringIO()
    table = csv.DictWriter(file, PAIR_COLUMNS)
    table.writeheader()
    for answer, item, batch, clip in _answers(store, batch_id, "pairs"):
        other = store.clip(item.other_clip_id or "")
        assert other is not None
        request = clip.record["request"]
        table.writerow(
            {
                "batch": batch.title,
                "pair": item.id,
                "annotator": answer.annotator,
                "preferred": answer.verdict,
                "side_a": name_of(batch.side_a),
                "side_b": name_of(batch.side_b),
                "clip_a": clip.id,
                "clip_b": other.id,
                "checkpoint_a": GenerationRecord.model_validate(clip.record).maker_sha256,
                "checkpoint_b": GenerationRecord.model_validate(other.record).maker_sha256,
                "prompt": request["prompt"],
                "seed": request["seed"],
                "created_utc": datetime.fromtimestamp(answer.answered_s, UTC).isoformat(),
            }
        )
    return file.getvalue()


def label_studio_tasks(
    store: ReviewStore, clips: ClipFolder, batch_id: int | None = None, *, place: Place | None = None
) -> list[dict[str, Any]]:
    """One task per clip with an annotation per answer, as Label Studio imports them (see LABEL_STUDIO_CONFIG)."""
    tasks: dict[str, dict[str, Any]] = {}
    for answer, _, batch, clip in _answers(store, batch_id, "label"):
        data = {"video": str((place or clips.file_of)(clip.id, CLIP_NAME)), "clip_id": clip.id, "batch": batch.title}
        task = tasks.setdefault(clip.id, {"data": data, "annotations": []})
        created = datetime.fromtimestamp(answer.answered_s, UTC).isoformat()
        result = [_choice("verdict", answer.verdict)]
        for issue, mark in answer.marks.items():
            result += _label_studio_mark(issue, Mark.model_validate(mark), clip)
        if answer.note:
            note = {"from_name": "note", "to_name": "video", "type": "textarea", "value": {"text": [answer.note]}}
            result.append({"id": "note", **note})
        task["annotations"].append({"completed_by": answer.annotator, "created_at": created, "result": result})
    return list(tasks.values())


def label_studio_config(store: ReviewStore) -> str:
    """The labelling interface that the tasks belong to."""
    labels = "".join(f'<Label value="{name}"/>' for name in store.issues)
    return (
        '<View><Video name="video" value="$video"/>'
        '<Choices name="verdict" toName="video"><Choice value="good"/><Choice value="bad"/></Choices>'
        f'<TimelineLabels name="issue" toName="video">{labels}</TimelineLabels>'
        f'<VideoRectangle name="region" toName="video"/><Labels name="region_issue" toName="video">{labels}</Labels>'
        '<Number name="severity" toName="video" perRegion="true" min="1" max="3"/>'
        '<TextArea name="note" toName="video"/></View>'
    )


def _label_studio_mark(issue: str, mark: Mark, clip: ClipRow) -> list[dict[str, Any]]:
    """The span on the timeline, its severity, and a rectangle that is there as long; frames count from 1."""
    start_s, end_s = mark.span_s or (0.0, clip.num_frames / clip.fps)
    first, last = int(start_s * clip.fps) + 1, min(clip.num_frames, max(1, round(end_s * clip.fps)))
    span = {"ranges": [{"start": first, "end": max(first, last)}], "timelinelabels": [issue]}
    severity = {"from_name": "severity", "to_name": "video", "type": "number", "value": {"number": mark.severity}}
    result = [
        {"id": issue, "from_name": "issue", "to_name": "video", "type": "timelinelabels", "value": span},
        {"id": issue, **severity},
    ]
    if mark.region is not None:
        x0, y0, x1, y1 = (100 * value for value in mark.region)
        place = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}
        sequence = [
            {"frame": first, "enabled": True, "time": start_s, **place},
            {"frame": max(first, last), "enabled": False, "time": end_s, **place},
        ]
        value = {
            "framesCount": clip.num_frames,
            "duration": clip.num_frames / clip.fps,
            "sequence": sequence,
            "labels": [issue],
        }
        rectangle = {"from_name": "region", "to_name": "video", "type": "videorectangle", "value": value}
        result.append({"id": f"{issue}-region", **rectangle})
    return result


def _choice(name: str, value: str) -> dict[str, Any]:
    return {"id": name, "from_name": name, "to_name": "video", "type": "choices", "value": {"choices": [value]}}


def clips_jsonl(
    store: ReviewStore, clips: ClipFolder, batch_id: int | None = None, *, place: Place | None = None
) -> str:
    """Every clip that is to be labelled, a line each: its id, the paths of its video and latents, and its record."""
    query = select(ClipRow).where(
        ClipRow.id.in_(
            select(ItemRow.clip_id)
            .join(BatchRow, BatchRow.id == ItemRow.batch_id)
            .where(BatchRow.kind == "label", *([] if batch_id is None else [BatchRow.id == batch_id]))
        )
    )
    lines = []
    with store.database.reading() as session:
        for clip in session.scalars(query.order_by(ClipRow.created_s, ClipRow.id)):
            latents = clip.files["latents"]
            told = {
                "clip": clip.id,
                "video": str((place or clips.file_of)(clip.id, CLIP_NAME)),
                "latents": str((place or clips.file_of)(clip.id, latents["name"])) if latents else None,
                "record": without_places(GenerationRecord.model_validate(clip.record)).model_dump(mode="json"),
            }
            lines.append(f"{json.dumps(told)}\n")
    return "".join(lines)


def _answers(
    store: ReviewStore, batch_id: int | None, kind: str
) -> Iterator[tuple[AnswerRow, ItemRow, BatchRow, ClipRow]]:
    with store.database.reading() as session:
        query = (
            select(AnswerRow, ItemRow, BatchRow, ClipRow)
            .join(ItemRow, ItemRow.id == AnswerRow.item_id)
            .join(BatchRow, BatchRow.id == ItemRow.batch_id)
            .join(ClipRow, ClipRow.id == ItemRow.clip_id)
            .where(BatchRow.kind == kind, AnswerRow.verdict.not_in(["", "skip"]), ItemRow.gold.is_(None))
            .order_by(AnswerRow.answered_s)
        )
        if batch_id is not None:
            query = query.where(BatchRow.id == batch_id)
        for row in session.execute(query):
            yield tuple(row)  # type: ignore[misc]


def label_studio_json(
    store: ReviewStore, clips: ClipFolder, batch_id: int | None = None, *, place: Place | None = None
) -> str:
    """The tasks as one file."""
    return json.dumps(label_studio_tasks(store, clips, batch_id, place=place), ensure_ascii=False, indent=1)
