"""What finished videos of portraits with speech must show: measured clips in, rows of a table out.

Pure arithmetic on numbers; knows nothing about files, faces or models. A row that could not be measured is not met.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goals.goal import Row, within
from trainer.metrics.lag_correlation import LagCorrelation
from trainer.metrics.mouth_light import MouthLight

REST_OPEN_APERTURE = 0.05
"""Above it a portrait's mouth counts as open at rest: 4–5 mm between the lips of an adult face."""
SIGNIFICANT_P = 0.05


@dataclass(frozen=True)
class ClipMeasurement:
    """One portrait with one speech clip. What could not be measured is None, and `error` says why."""

    portrait: str
    speech: str
    seed: int
    audio_frames: int
    """Length of the sound in video frames, rounded."""
    video_frames: int | None = None
    sound_frames: int | None = None
    """Length of the video's own sound in video frames, rounded; None where it has none."""
    mesh_lip_r: LagCorrelation | None = None
    viseme_r: LagCorrelation | None = None
    coverage: float | None = None
    rest_aperture: float | None = None
    silence_opening: float | None = None
    """Opening of the lips in the silence after the speech, as a share of the opening in speech."""
    inside: MouthLight | None = None
    """None where the mouth never opens by more than 5 mm."""
    psnr_db: float | None = None
    """The worst frame's."""
    sharpness: float | None = None
    """The median frame's, over the portrait's."""
    worst_sharpness: float | None = None
    error: str | None = None

    @property
    def ended_well(self) -> bool:
        """Playable, with sound, both as long as the voice ± 1 frame."""
        lengths = (self.video_frames, self.sound_frames)
        return all(n is not None and abs(n - self.audio_frames) <= 1 for n in lengths)

    @property
    def open_at_rest(self) -> bool:
        """The portrait's mouth is open before it speaks."""
        return self.rest_aperture is not None and self.rest_aperture > REST_OPEN_APERTURE


@dataclass(frozen=True)
class TimedRun:
    """One job on a loaded model: wall time and processor time over the clip's length."""

    wall_ratio: float
    cpu_ratio: float


def silence_opening(aperture: NDArray[np.float64], voiced: NDArray[np.bool_], last_frames: int) -> float:
    """(mean of the last frames − 5th percentile) / (mean of the voiced frames − 5th percentile) of an aperture track.

    `aperture` [F] may hold NaN where no face was seen; `voiced` [F] marks the speech. Infinite for a mouth that opens
    no further in speech than its 5th percentile.
    """
    floor = np.nanpercentile(aperture, 5)
    speaking = float(np.nanmean(aperture[voiced]) - floor)
    resting = float(np.nanmean(aperture[-last_frames:]) - floor)
    return resting / speaking if speaking > 0 else float("inf")


def clip_rows(clips: Sequence[ClipMeasurement]) -> list[Row]:
    """The rows of the finished videos, the worst clip unless its text says otherwise."""
    ended_well = sum(clip.ended_well for clip in clips)
    return [
        Row(
            "jobs that end with a playable file, sound included, length = audio ± 1 frame",
            f"{len(clips)} of {len(clips)}",
            f"{ended_well} of {len(clips)}",
            ended_well == len(clips) > 0,
        ),
        *_lip_rows(clips),
        *_silence_rows(clips),
        *_light_rows(clips),
        _worst(
            "luma PSNR of the background, worst frame",
            clips,
            "psnr_db",
            worst=min,
            goal=40.0,
            style=".1f",
            unit=" dB",
        ),
        _worst(
            "sharpness of the face against the portrait, median frame",
            clips,
            "sharpness",
            worst=min,
            goal=0.8,
            style=".2f",
        ),
    ]


def _lip_rows(clips: Sequence[ClipMeasurement]) -> list[Row]:
    metric = [clip.mesh_lip_r for clip in clips if clip.mesh_lip_r is not None]
    name = "`proxy/mesh_lip_r`"
    if not metric:
        return [Row(f"{name}: median r of all", "≥ 0.55", "not measured", False)]
    complete = len(metric) == len(clips)
    of_all = "" if complete else f" (only {len(metric)} of {len(clips)} clips could be measured)"
    median_r = float(np.median([m.r for m in metric]))
    rows = [Row(f"{name}: median r of all", "≥ 0.55", f"{median_r:.3f}{of_all}", median_r >= 0.55 and complete)]
    for speech in dict.fromkeys(clip.speech for clip in clips):
        own = [clip.mesh_lip_r for clip in clips if clip.speech == speech and clip.mesh_lip_r is not None]
        r = float(np.median([m.r for m in own])) if own else float("nan")
        null_95 = float(np.median([m.null_95 for m in own])) if own else float("nan")
        rows.append(
            Row(
                f"{name}: median r of {speech}",
                "≥ 0.50 and above the null's 95 %",
                f"{r:.3f}, null's 95 % {null_95:.3f} (medians)",
                r >= 0.50 and r > null_95 and len(own) == sum(clip.speech == speech for clip in clips),
            )
        )
    lag = float(np.median([m.lag_frames for m in metric]))
    significant = sum(m.p < SIGNIFICANT_P for m in metric)
    needed = len(clips) - len(clips) // 12
    rows.append(Row(f"{name}: median lag", "within ± 2 frames", f"{lag:+g} frames{of_all}", abs(lag) <= 2 and complete))
    rows.append(
        Row(
            f"{name}: clips with p < 0.05",
            f"≥ {needed} of {len(clips)}",
            f"{significant} of {len(clips)}",
            significant >= needed,
        )
    )
    return rows


def _light_rows(clips: Sequence[ClipMeasurement]) -> list[Row]:
    """Medians over the clips, in bands round 19 clips of real talkers (.09, .52, .70, .59, .97)."""
    what = "the inside of open mouths against the skin: "
    seen = [clip.inside for clip in clips if clip.inside is not None]
    if not seen:
        return [Row(f"{what}how dark", "0 to 0.2", "not measured", False)]
    bands = {
        "dark": ("share of it below a fifth of the skin's light", 0.0, 0.2),
        "pale": ("share of it above .55 of the skin's light", 0.4, 0.75),
        "low_pale": ("the same in its lower third", 0.5, 0.9),
        "median": ("median light", 0.45, 0.75),
        "p95": ("95th percentile of light", 0.85, 1.05),
    }
    return [
        within(f"{what}{words}", float(np.median([getattr(one, name) for one in seen])), low, high)
        for name, (words, low, high) in bands.items()
    ]


def _silence_rows(clips: Sequence[ClipMeasurement]) -> list[Row]:
    what = "lips in silence, opening as a share of the opening in speech"
    closed = [clip for clip in clips if not clip.open_at_rest]
    rows = []
    if closed:
        rows.append(_worst(what, closed, "silence_opening", worst=max, goal=0.15, style=".1%"))
    apart = [clip.silence_opening for clip in clips if clip.open_at_rest and clip.silence_opening is not None]
    if apart:
        rows.append(
            Row(
                f"{what}: portraits open at rest, reported apart",
                "none",
                f"worst {max(apart):.1%}",
                True,
                by_construction=True,
            )
        )
    return rows


def _worst(
    what: str,
    clips: Sequence[ClipMeasurement],
    name: str,
    *,
    worst: Callable[[Sequence[float]], float],
    goal: float,
    style: str,
    unit: str = "",
) -> Row:
    values = [getattr(clip, name) for clip in clips]
    at_least = worst is min
    goal_text = f"{'≥' if at_least else '≤'} {goal:{'.0%' if style.endswith('%') else 'g'}}{unit}"
    if any(value is None for value in values) or not values:
        return Row(what, goal_text, f"not measured on {sum(value is None for value in values)} clips", False)
    value = worst(values)
    met = value >= goal if at_least else value <= goal
    median = float(np.median(values))
    return Row(what, goal_text, f"worst {value:{style}}{unit}, median {median:{style}}{unit}", met)


def time_row(runs: Sequence[TimedRun]) -> Row:
    """Whole jobs against the clock: the fastest run counts."""
    what = "wall time for 6.5 s of video at 640×1138 on 2 cores over the clip's length, model loaded"
    if not runs:
        return Row(what, "≤ 1.0", "not measured", False)
    wall = min(run.wall_ratio for run in runs)
    every = ", ".join(f"{run.wall_ratio:.2f}" for run in runs)
    cpu = min(run.cpu_ratio for run in runs)
    measured = f"{wall:.2f} (fastest of {every}; processor time {cpu:.2f})"
    return Row(what, "≤ 1.0", measured, wall <= 1.0)


def studio_row(starts_s: Sequence[float | None]) -> Row:
    """From the studio's start to its page: the slowest counts, and one that never answered (None) misses."""
    what = "studio start to page answering, after set-up"
    answered = [start_s for start_s in starts_s if start_s is not None]
    if not starts_s or len(answered) < len(starts_s):
        return Row(what, "≤ 10 s", f"answered {len(answered)} of {len(starts_s)} times", False)
    every = ", ".join(f"{start_s:.1f}" for start_s in answered)
    return Row(what, "≤ 10 s", f"slowest of {every} s", max(answered) <= 10.0)
