"""An experiment's page: what was asked, what was run, what came out, judged by the rules that stood before.

Results in, Markdown and a plot out; knows nothing about how they were made. What was not run is said to be so, and an
ordering that is not the paper's is reported as such.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from research.measures import METRICS, PROMPTED_S, SPEECH_S
from research.plan import Experiment, Rule
from research.results import Result
from research.statistics import mean_of, paired_difference
from trainer.metrics.intervals import LEVEL, RESAMPLES, Interval

Results = Mapping[str, Sequence[Result]]
"""By the arm's name, one result a seed; arms that were not run are not in it."""

_RULE_COLUMNS = ("first arm", "second arm", "metric", "difference", "interval", "by seed", "")
REPRODUCED, REVERSED, UNDECIDED, NOT_RUN = "as expected", "**the other way round**", "no difference seen", "not run"


@dataclass(frozen=True)
class Judgement:
    """A rule and what came of it; differences are signed so that above 0 the rule's winner is better."""

    rule: Rule
    verdict: str
    difference: Interval | None = None
    by_seed: tuple[float, ...] = ()


def judge(rule: Rule, results: Results) -> Judgement:
    """By the interval of the paired difference: above 0, below 0, or neither."""
    if rule.winner not in results or rule.loser not in results:
        return Judgement(rule, NOT_RUN)
    winner, loser = ([result.values[rule.metric] for result in results[arm]] for arm in (rule.winner, rule.loser))
    pair = (winner, loser) if METRICS[rule.metric].higher_is_better else (loser, winner)
    difference, by_seed = paired_difference(*pair)
    if not difference.units:
        return Judgement(rule, "says nothing: no clip has a value")
    verdict = REPRODUCED if difference.low > 0 else REVERSED if difference.high < 0 else UNDECIDED
    return Judgement(rule, verdict, difference, tuple(by_seed))


@dataclass(frozen=True)
class Circumstances:
    """What all arms were run with: clips of each kind, the transformer's hash, the day."""

    clips: int
    model_sha256: str
    made: date


def write_report(experiment: Experiment, results: Results, circumstances: Circumstances, folder: Path) -> Path:
    """Write NAME.md and NAME.png into `folder`; returns the page."""
    judgements = [judge(rule, results) for rule in experiment.rules]
    plot = folder / f"{experiment.name}.png"
    shown = plot.name if _plot(experiment, judgements, plot) else None
    page = folder / f"{experiment.name}.md"
    page.write_text(_markdown(experiment, results, judgements, circumstances, shown))
    return page


def _markdown(
    experiment: Experiment,
    results: Results,
    judgements: Sequence[Judgement],
    circumstances: Circumstances,
    plot: str | None,
) -> str:
    clips = circumstances.clips
    run = [judgement for judgement in judgements if judgement.difference is not None]
    reproduced = sum(judgement.verdict == REPRODUCED for judgement in run)
    reversed_ = sum(judgement.verdict == REVERSED for judgement in run)
    seeds = max((len(per_seed) for per_seed in results.values()), default=0)
    parts = [
        f"# {experiment.question}",
        f"Written by `python -m research {experiment.name}` on {circumstances.made:%Y-%m-%d}; nano with the "
        f"transformer of sha256 `{circumstances.model_sha256[:12]}`, {seeds} seeds, {clips} clips of {SPEECH_S:g} s of "
        f"held-out voices and {clips} of {PROMPTED_S:g} s with a prompt for each arm and seed.",
        f"Expected: {experiment.claim}",
        f"**Of {len(judgements)} rules {len(run)} were tested: {reproduced} came out as expected, {reversed_} the "
        f"other way round, {len(run) - reproduced - reversed_} showed no difference.**",
        *([experiment.note] if experiment.note else []),
        "## Rules, as stated before",
        f"A rule holds where the {LEVEL:.0%} interval of the paired difference lies above 0: a bootstrap over clips, "
        f"each the mean of its seeds, {RESAMPLES} resamples. Differences are signed: above 0 the first arm is better. "
        "The interval is over clips; how much a training varies is in the column of seeds.",
        _table(_RULE_COLUMNS, [_row(judgement) for judgement in judgements]),
        *([f"![differences]({plot})"] if plot else []),
        "## Arms",
        _table(("arm", "what it is", *METRICS), [_arm_row(experiment, name, results) for name in _names(experiment)]),
        "Means over clips, in brackets the lowest and the highest seed.",
        "## What was run",
        _table(
            ("arm", "seeds", "steps of training", "processor minutes of it, mean", "last loss"),
            [_run_row(name, results) for name in _names(experiment)],
        ),
        *_told(experiment, results),
        "## Metrics",
        "\n".join(
            f"- `{name}`: {metric.title}{f', {metric.unit}' if metric.unit else ''}; "
            f"{'higher' if metric.higher_is_better else 'lower'} is better"
            for name, metric in METRICS.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _names(experiment: Experiment) -> list[str]:
    return [arm.name for arm in experiment.arms]


def _row(judgement: Judgement) -> list[str]:
    rule, difference = judgement.rule, judgement.difference
    if difference is None:
        return [rule.winner, rule.loser, f"`{rule.metric}`", "–", "–", "–", judgement.verdict]
    seeds = ", ".join(f"{value:+.3f}" for value in judgement.by_seed)
    interval = f"{difference.low:+.3f} … {difference.high:+.3f}"
    return [
        rule.winner, rule.loser, f"`{rule.metric}`", f"{difference.value:+.3f}", interval, seeds, judgement.verdict
    ]  # fmt: skip


def _arm_row(experiment: Experiment, name: str, results: Results) -> list[str]:
    title = next(arm.title for arm in experiment.arms if arm.name == name)
    if name not in results:
        return [name, title, *[NOT_RUN] * len(METRICS)]
    cells = []
    for metric in METRICS:
        per_seed = [mean_of([result.values[metric]]) for result in results[name]]
        whole = mean_of([result.values[metric] for result in results[name]])
        spread = f"{np.nanmin(per_seed):.3g}–{np.nanmax(per_seed):.3g}" if np.isfinite(whole) else ""
        cells.append(f"{whole:.3g} ({spread})" if spread else "–")
    return [name, title, *cells]


def _run_row(name: str, results: Results) -> list[str]:
    if name not in results:
        return [name, "0", NOT_RUN, "–", "–"]
    made = results[name]
    minutes = float(np.mean([result.training_minutes for result in made]))
    losses = [result.last_loss for result in made if result.last_loss is not None]
    return [
        name,
        str(len(made)),
        str(made[0].steps) if made[0].steps else "none, inference only",
        f"{minutes:.1f}" if made[0].steps else "–",
        f"{np.mean(losses):.4f}" if losses else "–",
    ]


def _told(experiment: Experiment, results: Results) -> list[str]:
    """What trainings said of themselves, arm by arm and seed by seed."""
    lines = [
        f"- {name}, seed {seed}: {'; '.join(result.told)}"
        for name in _names(experiment)
        for seed, result in enumerate(results.get(name, ()))
        if result.told
    ]
    return ["\n".join(lines)] if lines else []


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _plot(experiment: Experiment, judgements: Sequence[Judgement], path: Path) -> bool:
    """One row a rule: the difference with its interval, a dot for every seed. False where there is nothing to draw."""
    tested = [judgement for judgement in judgements if judgement.difference is not None]
    if not tested:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, all_axes = plt.subplots(
        len(tested), 1, figsize=(8, 0.9 + 0.75 * len(tested)), squeeze=False, layout="constrained"
    )
    for axes, judgement in zip(all_axes[:, 0], tested, strict=True):
        _draw(axes, judgement)
    figure.suptitle(f"{experiment.name}: right of the line the first arm is better", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _draw(axes: Any, judgement: Judgement) -> None:
    difference, rule = judgement.difference, judgement.rule
    assert difference is not None
    colour = {REPRODUCED: "tab:green", REVERSED: "tab:red"}.get(judgement.verdict, "tab:gray")
    axes.plot([difference.low, difference.high], [0, 0], color=colour, linewidth=4, solid_capstyle="round")
    axes.plot([difference.value], [0], "o", color="white", markeredgecolor=colour, markersize=8)
    axes.plot(judgement.by_seed, np.zeros(len(judgement.by_seed)), "|", color="black", markersize=12)
    axes.axvline(0, color="black", linewidth=1)
    reach = 1.25 * max(abs(difference.low), abs(difference.high), *map(abs, judgement.by_seed), 1e-6)
    axes.set(xlim=(-reach, reach), ylim=(-1, 1), yticks=[])
    axes.set_title(f"{rule.winner} against {rule.loser}: {rule.metric}", fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
