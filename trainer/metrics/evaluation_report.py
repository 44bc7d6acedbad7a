"""The report of a folder of videos in the shape of the paper's Table 1: Markdown and a plot. Numbers in, page out.

Canonical metrics and proxies stand in tables of their own. A dash is a metric that was not measured; why stands below.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from trainer.metrics.canonical import HIGHER_IS_BETTER, ORDER, CanonicalMetrics
from trainer.metrics.intervals import LEVEL, Interval, bootstrap_mean
from trainer.metrics.proxies import PROXIES
from trainer.metrics.video_evaluation import VideoEvaluation

SCHEMA_VERSION = 2


def proxy_intervals(evaluations: Sequence[VideoEvaluation]) -> dict[str, Interval]:
    """The mean of each proxy over the videos that have it."""
    values = {name: [each.proxy_values[name] for each in evaluations if name in each.proxy_values] for name in PROXIES}
    return {name: bootstrap_mean(column) for name, column in values.items() if column}


def as_json(evaluations: Sequence[VideoEvaluation], canonical: CanonicalMetrics) -> dict[str, Any]:
    """The one schema: the set's numbers, and every video's."""
    proxies = {name: vars(interval) for name, interval in proxy_intervals(evaluations).items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "set": {
            "videos": len(evaluations),
            "steps": _same([each.steps for each in evaluations]),
            "seconds": _mean([each.seconds for each in evaluations]),
            "canonical": {name: measured.as_json() for name, measured in canonical.measured.items()},
            "proxy": {name: {**value, "n": value["units"]} for name, value in proxies.items()},
            "not_measured": canonical.not_measured,
        },
        "videos": [evaluation.as_json() for evaluation in evaluations],
    }


def write_report(
    folder: Path, title: str, evaluations: Sequence[VideoEvaluation], canonical: CanonicalMetrics, made_utc: datetime
) -> Path:
    """Write report.md and report.png into `folder`, which exists; returns the page."""
    intervals = proxy_intervals(evaluations)
    _plot(evaluations, folder / "report.png")
    page = folder / "report.md"
    page.write_text(_markdown(title, evaluations, canonical, intervals, made_utc))
    return page


def _markdown(
    title: str,
    evaluations: Sequence[VideoEvaluation],
    canonical: CanonicalMetrics,
    intervals: dict[str, Interval],
    made_utc: datetime,
) -> str:
    dimensions = [name for name in canonical.measured if name.startswith("VBench-2.0/")]
    names = [*ORDER, *dimensions]
    arrows = {True: " ↑", False: " ↓"}
    header = ["", "Steps", "Time", *[f"{name}{arrows[HIGHER_IS_BETTER.get(name, True)]}" for name in names]]
    cells = [_cell(canonical.measured[name].interval) if name in canonical.measured else "–" for name in names]
    steps, seconds = _same([each.steps for each in evaluations]), _mean([each.seconds for each in evaluations])
    row = [title, "–" if steps is None else str(steps), "–" if seconds is None else f"{seconds:.1f} s", *cells]
    parts = [
        f"# {title}",
        f"Written by `python -m trainer evaluate` on {made_utc:%Y-%m-%d}: {len(evaluations)} videos. In brackets the "
        f"{LEVEL:.0%} bootstrap interval over videos. Time is wall time a video, where it was told.",
        "## Canonical",
        _table(header, [row]),
        *_how(canonical),
        "## Proxies",
        "Stand-ins that need no one's weights; not comparable with published numbers.",
        _table(
            ("", "mean", "videos", "better", "what it is"),
            [
                (f"`proxy/{name}`", _cell(interval), str(interval.units), PROXIES[name][1], PROXIES[name][0])
                for name, interval in intervals.items()
            ],
        ),
        "![proxies by video](report.png)",
        "## Video by video",
        _table(
            ("video", "frames", "fps", "size", *canonical_names(evaluations), *intervals),
            [_video_row(each, canonical_names(evaluations), list(intervals)) for each in evaluations],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def canonical_names(evaluations: Sequence[VideoEvaluation]) -> list[str]:
    """The canonical metrics that videos have one by one."""
    return sorted({name for each in evaluations for name in each.canonical})


def _how(canonical: CanonicalMetrics) -> list[str]:
    lines = [
        f"- {name}: n = {measured.interval.units} {measured.units}; {measured.resolution}; resized "
        f"{measured.resize}" + (f"; weights `{measured.weights_sha256[:12]}`" if measured.weights_sha256 else "")
        for name, measured in canonical.measured.items()
    ]
    lines += [f"- {name}: not measured; {reason}" for name, reason in canonical.not_measured.items()]
    return ["\n".join(lines)]


def _video_row(each: VideoEvaluation, canonical: list[str], proxies: list[str]) -> list[str]:
    values = {**each.canonical, **each.proxy_values}
    numbers = [f"{values[name]:.3g}" if name in values else "–" for name in (*canonical, *proxies)]
    return [each.path.name, str(each.frames), f"{each.fps:g}", f"{each.size_px[0]}×{each.size_px[1]}", *numbers]


def _cell(interval: Interval) -> str:
    return f"{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def _same(values: Sequence[int | None]) -> int | None:
    """The one value that all have, or None."""
    return values[0] if len(set(values)) == 1 else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _plot(evaluations: Sequence[VideoEvaluation], path: Path) -> None:
    """A panel a proxy: every video a dot, the mean with its interval."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    intervals = proxy_intervals(evaluations)
    columns = min(4, len(intervals))
    rows = -(-len(intervals) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(2.6 * columns, 2.4 * rows), squeeze=False, layout="constrained"
    )
    for panel, (name, interval) in zip(panels.flat, intervals.items(), strict=False):
        values = [each.proxy_values[name] for each in evaluations if name in each.proxy_values]
        panel.plot(np.linspace(-0.3, 0.3, len(values)), values, ".", color="tab:gray")
        panel.errorbar(
            [0],
            [interval.value],
            [[interval.value - interval.low], [interval.high - interval.value]],
            fmt="o",
            capsize=4,
        )
        panel.set(title=f"proxy/{name}", xticks=[], xlim=(-0.6, 0.6))
        panel.title.set_fontsize(9)
        panel.tick_params(labelsize=8)
    for panel in panels.flat[len(intervals) :]:
        panel.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)
