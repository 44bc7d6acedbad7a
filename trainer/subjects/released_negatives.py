"""Negatives for the released models: labelled clips as their own final latents, conditioned as they were made.

As `negatives` for nano, but pixels: a label's region is a box of latent cells, a clip without a picture has a
first latent that can be bad, and windows may have no reference in front. A clip is conditioned anew by the very code
that generated it, from its record and its input files. Features are kept in half precision, where it fits.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.records import NegativeIssue, NegativeRecord
from engine.media.inputs import read_inputs
from engine.sampling.denoise import Conditions
from engine.sampling.long_video import Window, plan_windows
from engine.sampling.tasks import FRAMES_PER_LATENT, to_video_frames
from engine.wan.animator import PixelAnimator
from trainer.loop.flow import FlowBatch
from trainer.prepare.features import halved
from trainer.subjects.labels import alike_issues, generated_frames, latents_of, request_of
from trainer.subjects.negatives import Phases, bad_latents, draw_negatives, phases, weights_at, weights_of


@dataclass(frozen=True)
class ReleasedNegative:
    """One window of a clip that should not be made again: T latent frames."""

    latents: Tensor
    """[16, T, h, w]."""
    conditions: dict[str, Tensor]
    """What `released.ReleasedVelocity` takes, without a batch's dimension, but for the modal weights."""
    mask: Tensor
    """[1, T, h, w], 1 where the error counts."""
    phda: Phases
    tau_range: tuple[float, float]
    """The timesteps at which it is unlearned."""
    weight: float
    """What its loss counts."""


def released_negatives(
    records: Sequence[NegativeRecord],
    animator: PixelAnimator,
    folder: Path,
    labels: Path,
) -> tuple[list[ReleasedNegative], list[str]]:
    """The negatives that `records` describe, and notes of what was left out.

    `animator` is of the model in `folder`, which made the clips. Paths that are not absolute are looked for beside
    `labels`. Raises UserError where a file is gone or is not what it was.
    """
    negatives: list[ReleasedNegative] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as scratch, animator.keeping_text_encoder():
        for record in records:
            request = request_of(record, labels, folder, Path(scratch))
            clip = animator.encode(read_inputs(request), request)
            latents = latents_of(record, labels, tuple(clip.known.shape[2:]))
            found = [
                window
                for alike in alike_issues(record.issues)
                for window in _windows(clip, latents, record, alike, animator.window_latent_frames)
            ]
            if not found:
                notes.append(f"Clip {record.clip_id[:12]}: what is marked is nothing that was generated; left out.")
            negatives += found
    if not negatives:
        raise UserError(f"Nothing that the labels {labels} mark was generated: no clip is left.", "labels")
    return negatives, notes


def _windows(
    clip: Conditions, latents: Tensor, record: NegativeRecord, issues: Sequence[NegativeIssue], most: int
) -> list[ReleasedNegative]:
    """The windows, as `engine.sampling.forwards` shows them, in which what `issues`, all alike, mark was generated."""
    settings, first = record.request.settings, clip.first_content
    known, audio = clip.known.float().cpu(), clip.audio.cpu()
    mask = _bad_cells(issues, record.fps, latents, first) * (1 - known[0, :FRAMES_PER_LATENT].amin(dim=0))
    mask[:first] = 0.0
    length = settings.long_video.window_latent_frames or most
    overlap = min(settings.long_video.overlap_latent_frames, length - 1)
    by_step = phases(settings, record.settings_by_step)
    tokens_per_frame = audio.shape[1] // to_video_frames(latents.shape[2])
    found = []
    for window in plan_windows(first, latents.shape[2], length, overlap):
        inside = slice(window.start, window.stop)
        if not bool(mask[inside].any()):
            continue
        seen, shown, counted = latents[:, :, inside], known[:, :, inside], mask[inside]
        if clip.reference is not None:
            seen = torch.cat([clip.reference.float().cpu(), seen], dim=2)
            shown = torch.cat([_front(clip, window).float().cpu(), shown], dim=2)
            counted = torch.cat([torch.zeros_like(mask[:1]), counted])
        heard = slice(
            tokens_per_frame * FRAMES_PER_LATENT * (window.start - first),
            tokens_per_frame * (FRAMES_PER_LATENT * (window.stop - 1) + 1),
        )
        conditions = {
            "known": halved(shown[0]),
            "text": halved(clip.text[0].cpu()),
            "image": halved(_image(clip)),
            "audio": halved(audio[0, heard]),
            "face_mask": _face_mask(clip),
        }
        found.append(
            ReleasedNegative(seen[0], conditions, counted[None], by_step, issues[0].tau_range, issues[0].weight)
        )
    return found


def _front(clip: Conditions, window: Window) -> Tensor:
    """Mask and masked latents in front of a window: in time where the clip begins."""
    assert clip.slot is not None
    return clip.known[:, :, :1] if window.start == clip.first_content else clip.slot


def _image(clip: Conditions) -> Tensor:
    assert clip.image is not None
    return clip.image[0].cpu()


def _face_mask(clip: Conditions) -> Tensor:
    """[tokens of a latent frame]; everywhere where there is none."""
    if clip.face_mask is not None:
        return clip.face_mask[0].float().cpu()
    height, width = clip.known.shape[-2:]
    return torch.ones(height // 2 * (width // 2))


def _bad_cells(issues: Sequence[NegativeIssue], fps: float, latents: Tensor, first_content: int) -> Tensor:
    """What the issues mark, [T, h, w] of ones and zeros."""
    count, height, width = latents.shape[2:]
    bad = torch.zeros(count, height, width)
    for issue in issues:
        cells = torch.ones(height, width)
        if issue.region is not None:
            x0, y0, x1, y1 = issue.region
            rows, columns = _touched(y0, y1, height), _touched(x0, x1, width)
            cells = rows[:, None] * columns
        frames = bad_latents(count, [generated_frames(issue.frames, fps)], first_content=first_content)
        bad = torch.maximum(bad, frames[:, None, None] * cells)
    return bad


def _touched(start: float, stop: float, count: int) -> Tensor:
    """1 for each of `count` cells along a side that lies at least in part between two fractions of it."""
    edges = torch.arange(count + 1) / count
    return ((edges[1:] > start) & (edges[:-1] < stop)).float()


class ReleasedPool:
    """The negatives of a block; draws are keyed by (seed, step, index)."""

    def __init__(self, negatives: Sequence[ReleasedNegative], seed: int) -> None:
        self._seed = seed
        self._by_shape: dict[tuple[int, ...], list[ReleasedNegative]] = {}
        for negative in negatives:
            self._by_shape.setdefault(tuple(negative.latents.shape), []).append(negative)

    def sha256(self) -> str:
        """Of everything in the pool."""
        digest = hashlib.sha256()
        for negative in (negative for shape in sorted(self._by_shape) for negative in self._by_shape[shape]):
            for tensor in (negative.latents, *negative.conditions.values(), negative.mask):
                digest.update(np.ascontiguousarray(tensor.float().numpy()).tobytes())
            digest.update(f"{negative.phda} {negative.tau_range} {negative.weight}".encode())
        return digest.hexdigest()

    def draw(self, step: int, size: int, tau_shift: float) -> FlowBatch:
        """`size` negatives of one shape with their noise."""
        chosen, sigma, eps = draw_negatives(self._by_shape, self._seed, step, size, tau_shift)
        conditions = {
            name: torch.stack([negative.conditions[name].float() for negative in chosen])
            for name in chosen[0].conditions
        }
        weights = [weights_at(1000 * float(s), negative.phda) for negative, s in zip(chosen, sigma, strict=True)]
        return FlowBatch(
            torch.stack([negative.latents for negative in chosen]),
            eps,
            sigma,
            conditions | {"modal_weights": torch.stack(weights)},
            mask=torch.stack([negative.mask for negative in chosen]),
            weight=weights_of(chosen),
        )
