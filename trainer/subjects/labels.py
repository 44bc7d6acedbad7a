"""Label files: lines of `engine.contract.records.NegativeRecord`, checked, and the labelled clips as nano's negatives.

A clip is conditioned anew from its own record and input files, by the very code that generated it, and its latents are
those that were kept beside it. Whatever a line names and is not there, or is not what it was, stops here.
"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.records import NegativeIssue, NegativeRecord, StoredFile
from engine.contract.request import Box, GenerationRequest
from engine.contract.variants import FPS
from engine.media.inputs import Inputs, file_sha256, read_inputs
from engine.nano.animator import NanoAnimator
from engine.nano.face_motion import CONTROL_POINTS, point_cells, slot_cells
from engine.nano.model import NanoModel
from engine.pipeline import LATENTS_KEY
from trainer.subjects.negatives import Negative, bad_latents, negatives_of

_HEAD_SHARE = 0.5
"""A region round more of the face's points than this means the head's pose too."""
_TOUCH = 1e-6
"""Less of a frame than this is not touched: it is rounding."""


def read_labels(path: Path, issue: str | None = None) -> list[NegativeRecord]:
    """The bad clips in the label file `path`, with only `issue` of what is wrong where one is named.

    Raises UserError where the file cannot be read, a line is no label, variants are mixed, or no clip is left.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UserError(
            f"The labels {path} cannot be read ({reason}): export them in the review tab.", "labels"
        ) from None
    records = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                records.append(NegativeRecord.model_validate_json(line))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "the line"
                raise UserError(f"Line {number} of {path} is no label: {where}: {first['msg']}.", "labels") from None
    bad = [record for record in records if record.verdict == "bad"]
    chosen = [record for record in bad if issue is None or any(found.id == issue for found in record.issues)]
    if not chosen:
        known = ", ".join(sorted({found.id for record in bad for found in record.issues}))
        hint = f"its issues are {known}" if known else "label some clips first"
        what = "no clip that is bad" if issue is None else f"no clip with the issue {issue!r}"
        raise UserError(f"The labels {path} hold {what}: {hint}.", "issue" if issue and known else "labels")
    variants = sorted({record.variant for record in chosen})
    if len(variants) > 1:
        raise UserError(
            f"The labels {path} mix the models {' and '.join(variants)}: give a file for each, a block trains one.",
            "labels",
        )
    if issue is None:
        return chosen
    return [
        record.model_copy(update={"issues": tuple(found for found in record.issues if found.id == issue)})
        for record in chosen
    ]


def nano_negatives(
    records: Sequence[NegativeRecord], model: NanoModel, folder: Path, labels: Path, *, any_checkpoint: bool = False
) -> tuple[list[Negative], list[str]]:
    """The negatives that `records` describe, and notes of what was left out.

    `model` is the one in `folder`, which must have made the clips unless `any_checkpoint`. Paths that are not absolute
    are looked for beside `labels`. Raises UserError where a file is gone or is not what it was.
    """
    check_model(records, "nano", model.checkpoint_sha256, folder, any_checkpoint=any_checkpoint)
    records, notes = with_latents(records, labels)
    check_files(records, labels)
    animator = NanoAnimator(model)
    negatives: list[Negative] = []
    with tempfile.TemporaryDirectory() as scratch:
        for record in records:
            request = request_of(record, labels, folder, Path(scratch))
            inputs = read_inputs(request)
            conditions = animator.encode(inputs, request)
            latents = latents_of(record, labels, tuple(conditions.known.shape[2:]))
            found = [
                negative
                for alike in alike_issues(record.issues)
                for negative in negatives_of(
                    conditions,
                    latents,
                    _bad_cells(alike, record.fps, latents.shape[2], inputs),
                    request.prompt,
                    request.settings,
                    window_latent_frames=model.window_latent_frames,
                    settings_by_step=record.settings_by_step,
                    tau_range=alike[0].tau_range,
                    weight=alike[0].weight,
                )
            ]
            if not found:
                notes.append(f"Clip {record.clip_id[:12]}: what is marked is nothing that nano generates; left out.")
            negatives += found
    if not negatives:
        raise UserError(f"Nothing that the labels {labels} mark is generated by nano: no clip is left.", "labels")
    return negatives, notes


def check_model(
    records: Sequence[NegativeRecord], name: str, sha256: str, folder: Path, *, any_checkpoint: bool
) -> None:
    """Raises UserError where the clips of `records` were made by another than the model `name` in `folder`, or, unless
    `any_checkpoint`, by other weights than those with `sha256`."""
    variant = records[0].variant
    if variant != name:
        raise UserError(f"The labels are of the model {variant}, {folder} holds {name}.", "model")
    adapted = [record for record in records if record.request.lora is not None]
    if adapted:
        raise UserError(
            f"{len(adapted)} of {len(records)} labelled clips were made with a LoRA ({adapted[0].request.lora}): "
            "what it did cannot be unlearned from the model without it. Take these clips out of the labels.",
            "labels",
        )
    others = [record for record in records if record.checkpoint_sha256 != sha256]
    if others and not any_checkpoint:
        raise UserError(
            f"{len(others)} of {len(records)} labelled clips were made by another checkpoint "
            f"({others[0].checkpoint_sha256[:12]}) than the one in {folder} ({sha256[:12]}): give the "
            "folder of that checkpoint with --model, or say --any-checkpoint.",
            "model",
        )


def with_latents(records: Sequence[NegativeRecord], labels: Path) -> tuple[list[NegativeRecord], list[str]]:
    """Those that can be learned from, and a note of the others: the review tab labels clips without latents, too.

    Raises UserError where none is left.
    """
    kept = [record for record in records if record.latents is not None]
    without = [record.clip_id[:12] for record in records if record.latents is None]
    why = "kept no latents, and the video alone cannot be learned from"
    if not kept:
        raise UserError(
            f"Each of the {len(without)} bad clips in {labels} {why}: label clips that kept them.", "labels"
        )
    return kept, [f"{', '.join(without[:5])}{'…' if without[5:] else ''}: {why}; left out."] if without else []


def check_files(records: Sequence[NegativeRecord], labels: Path) -> None:
    """Raises UserError where a clip's latents or a file that it was made from is gone or is not what it was."""
    for record in records:
        for name, stored in record.inputs.items():
            _checked(stored, name, record, labels)
        if record.latents is not None:
            _checked(record.latents, "latents file", record, labels)


def _checked(stored: StoredFile, what: str, record: NegativeRecord, labels: Path) -> None:
    path = _place(stored, labels)
    clip = record.clip_id[:12]
    if not path.is_file():
        raise UserError(
            f"The {what} of clip {clip} is gone: {path} does not exist. Restore it, or take the clip out of {labels}.",
            "labels",
        )
    if file_sha256(path) != stored.sha256:
        raise UserError(
            f"The {what} of clip {clip}, {path}, is not what it was when the clip was labelled: restore it, or take "
            f"the clip out of {labels}.",
            "labels",
        )


def _place(stored: StoredFile, labels: Path) -> Path:
    return stored.path if stored.path.is_absolute() or stored.path.exists() else labels.parent / stored.path


def request_of(record: NegativeRecord, labels: Path, folder: Path, scratch: Path) -> GenerationRequest:
    """What the clip was made from, for the model in `folder`; its files are those of `check_files`."""
    return record.request.model_copy(
        update={name: _place(stored, labels) for name, stored in record.inputs.items()}
        | {"model": str(folder), "out": scratch / "unused.mp4"}
    )


def latents_of(record: NegativeRecord, labels: Path, shape: tuple[int, ...]) -> Tensor:
    """The clip's latents [1, 16, T, h, w]; `shape` is what T, h, w must be. Raises UserError where they are not."""
    assert record.latents is not None
    clip, path = record.clip_id[:12], _place(record.latents, labels)
    try:
        latents = load_file(path)[LATENTS_KEY].float()
    except (SafetensorError, KeyError, OSError) as error:
        reason = f"it holds no {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"The latents of clip {clip}, {path}, cannot be read ({reason}): take the clip out of {labels}.", "labels"
        ) from None
    wanted = (1, 16, *shape)
    if tuple(latents.shape) != wanted:
        raise UserError(
            f"The latents of clip {clip} are {list(latents.shape)}; its picture and voice make {list(wanted)}: they "
            f"are another clip's. Take the clip out of {labels}.",
            "labels",
        )
    if not bool(torch.isfinite(latents).all()):
        raise UserError(
            f"The latents of clip {clip}, {path}, are not all numbers: take the clip out of {labels}.", "labels"
        )
    return latents


def alike_issues(issues: Sequence[NegativeIssue]) -> list[list[NegativeIssue]]:
    """The issues by phase and severity: each group becomes a negative of its own, unlearned at its own timesteps."""
    groups: dict[tuple[str, int], list[NegativeIssue]] = {}
    for issue in issues:
        groups.setdefault((issue.phase, issue.severity), []).append(issue)
    return list(groups.values())


def generated_frames(frames: tuple[int, int], fps: float) -> tuple[int, int]:
    """Frames [start, stop) of a clip with `fps` as the frames at FPS that they touch."""
    start = math.floor(frames[0] * FPS / fps + _TOUCH)
    return start, max(start + 1, math.ceil(frames[1] * FPS / fps - _TOUCH))


def _bad_cells(issues: Sequence[NegativeIssue], fps: float, latent_frames: int, inputs: Inputs) -> Tensor:
    """What the issues mark, [T, 8, 8] of ones and zeros."""
    bad = torch.zeros(latent_frames, 8, 8)
    # Lip-sync has the reference in front of the film's first frame.
    lead = 1 if inputs.film is not None else 0
    for issue in issues:
        start, stop = generated_frames(issue.frames, fps)
        cells = torch.ones(8, 8) if issue.region is None else _cells_in(issue.region, inputs)
        marked = bad_latents(latent_frames, [(lead + start, lead + stop)])
        bad = torch.maximum(bad, marked[:, None, None] * cells)
    return bad


def _cells_in(region: Box, inputs: Inputs) -> Tensor:
    """1 for the still face's points that lie in `region`, and for the slots where most of them do, [8, 8]."""
    assert inputs.portrait is not None
    height, width = inputs.portrait.picture.shape[:2]
    places = torch.from_numpy(inputs.portrait.face.landmarks_px[CONTROL_POINTS, :2] / [width, height])
    x0, y0, x1, y1 = region
    inside = (places[:, 0] >= x0) & (places[:, 0] <= x1) & (places[:, 1] >= y0) & (places[:, 1] <= y1)
    cells = point_cells(inside.float())
    return cells + slot_cells() if float(inside.float().mean()) > _HEAD_SHARE else cells
