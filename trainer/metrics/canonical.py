"""The metrics of a whole set of videos under their published names: FID, FVD, IQA, ASE, Sync-C, Sync-D, VBench-2.0.

Each needs something from the user: published weights, real videos to compare with, another environment. What is not
given is left out with its reason; what is given and wrong is an error. Every number comes with how many units it was
taken over, their resolution, the resize rule, and a bootstrap interval.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.errors import UserError
from engine.media.video import probe
from trainer.metrics.external import q_align_scores, vbench2_scores
from trainer.metrics.features import (
    FRAMES_PER_VIDEO,
    WINDOW_FRAMES,
    load_i3d,
    load_inception,
    motion_features,
    picture_features,
)
from trainer.metrics.frechet import frechet_interval
from trainer.metrics.intervals import Interval, bootstrap_mean
from trainer.metrics.video_evaluation import SYNC_CROP, VideoEvaluation
from trainer.metrics.weights import PUBLISHED, CanonicalWeights

ORDER = ("Sync-C", "Sync-D", "FID", "FVD", "IQA", "ASE")
"""Table 1's columns that are always shown; VBench-2.0's dimensions stand behind them."""
HIGHER_IS_BETTER = {"Sync-C": True, "Sync-D": False, "FID": False, "FVD": False, "IQA": True, "ASE": True}
LEAST_VIDEOS = 2


@dataclass(frozen=True)
class Measured:
    """A metric of the set: `units` says what the interval resamples, `frames_each` what was looked at of each."""

    interval: Interval
    units: str
    resolution: str
    resize: str
    weights_sha256: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        value = asdict(self.interval)
        return {
            **value,
            "n": value.pop("units"),
            **{name: item for name, item in vars(self).items() if name != "interval"},
        }


@dataclass
class CanonicalMetrics:
    """By name: what was measured, and why the rest was not."""

    measured: dict[str, Measured] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)


def canonical_metrics(
    evaluations: Sequence[VideoEvaluation],
    weights: CanonicalWeights,
    reference: Sequence[Path],
    *,
    syncnet_sha256: str | None = None,
    published: Path = PUBLISHED,
) -> CanonicalMetrics:
    """Everything that `weights` and `reference` videos allow for. Raises UserError for what is given and wrong."""
    metrics = CanonicalMetrics()
    resolution = _resolution(evaluations)
    _sync(metrics, evaluations, resolution, syncnet_sha256)
    _frechet(metrics, evaluations, weights, reference, published)
    videos = [evaluation.path for evaluation in evaluations]
    if weights.q_align is None:
        for name in ("IQA", "ASE"):
            metrics.not_measured[name] = "needs q_align: its Python and its model's folder in --weights"
    else:
        sha256, scores = q_align_scores(weights.q_align, videos, published)
        for name in ("IQA", "ASE"):
            interval = bootstrap_mean([scores[video][name] for video in videos])
            metrics.measured[name] = Measured(
                interval, "videos, a frame a second", resolution, "Q-Align's own, padded to square, 448×448", sha256
            )
    if weights.vbench2 is None:
        metrics.not_measured["VBench-2.0"] = "needs vbench2: its Python and its repository in --weights"
    else:
        for dimension, by_video in vbench2_scores(weights.vbench2, videos).items():
            interval = bootstrap_mean(list(by_video.values()))
            metrics.measured[f"VBench-2.0/{dimension}"] = Measured(
                interval, "videos", resolution, "VBench-2.0's own", None
            )
    return metrics


def _sync(
    metrics: CanonicalMetrics, evaluations: Sequence[VideoEvaluation], resolution: str, sha256: str | None
) -> None:
    for name in ("Sync-C", "Sync-D"):
        if sha256 is None:
            metrics.not_measured[name] = "needs syncnet: syncnet_v2.model in --weights"
            continue
        interval = bootstrap_mean([evaluation.canonical[name] for evaluation in evaluations])
        metrics.measured[name] = Measured(interval, "videos", resolution, SYNC_CROP, sha256)


def _frechet(
    metrics: CanonicalMetrics,
    evaluations: Sequence[VideoEvaluation],
    weights: CanonicalWeights,
    reference: Sequence[Path],
    published: Path,
) -> None:
    for name, path, key in (("FID", weights.inception, "inception"), ("FVD", weights.i3d, "i3d")):
        if path is None:
            metrics.not_measured[name] = f"needs {key}: its TorchScript file in --weights"
            continue
        if not reference:
            metrics.not_measured[name] = "needs real videos to compare with: --reference FOLDER"
            continue
        if min(len(evaluations), len(reference)) < LEAST_VIDEOS:
            raise UserError(
                f"{name} compares sets: {LEAST_VIDEOS} videos of each kind at least; got {len(evaluations)} and "
                f"{len(reference)}.",
                "reference",
            )
        videos = [evaluation.path for evaluation in evaluations]
        if name == "FID":
            network = load_inception(path, published)
            counts = {evaluation.path: evaluation.frames for evaluation in evaluations}
            made = [picture_features(network, video, counts[video]) for video in videos]
            real = [picture_features(network, video, probe(video).num_frames) for video in reference]
            units = f"videos, {FRAMES_PER_VIDEO} frames each; {len(real)} real ones"
        else:
            network = load_i3d(path, published)
            made = [motion_features(network, video) for video in videos]
            real = [motion_features(network, video) for video in reference]
            windows = sum(map(len, made)), sum(map(len, real))
            units = (
                f"videos, {windows[0]} windows of {WINDOW_FRAMES} frames; {len(real)} real ones, {windows[1]} windows"
            )
        metrics.measured[name] = Measured(
            frechet_interval(made, real), units, _resolution(evaluations), network.resize, network.sha256
        )


def _resolution(evaluations: Sequence[VideoEvaluation]) -> str:
    sizes = sorted({evaluation.size_px for evaluation in evaluations})
    return ", ".join(f"{width}×{height}" for width, height in sizes)
