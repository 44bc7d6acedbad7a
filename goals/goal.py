"""What a goal is, and how a part's goals are measured, kept and written down.

A goal is a function from `Place` to rows, registered with its part under a name:

    PART = Part("engine", "The engine", EXPLANATION)

    @PART.goal("parity")
    def parity(place: Place) -> list[Row]: ...

Numbers are reported as they come; what falls short says so. Every measurement is kept in one file, so that a goal that
is measured again brings its page up to date. Knows nothing about what is measured.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

KEPT_NAME = "goals.json"


@dataclass(frozen=True)
class Place:
    """Where portraits and speech are, where videos and contact sheets go, and what else a measurement may be told."""

    examples: Path
    videos: Path
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of a page: what must be shown, and what was."""

    what: str
    goal: str
    measured: str
    met: bool
    by_construction: bool = False
    """It follows from how the thing is built and cannot come out otherwise: a check, no achievement."""

    @property
    def verdict(self) -> str:
        """What stands beside it."""
        if not self.met:
            return "**short**"
        return "by construction" if self.by_construction else "met"


@dataclass(frozen=True)
class Measured:
    """Rows, and Markdown that stands behind the table."""

    rows: Sequence[Row]
    details: str = ""


Measure = Callable[[Place], Iterable[Row] | Measured]


def at_most(what: str, measured: float, limit: float, style: str = ".2f", *, unit: str = "", more: str = "") -> Row:
    """A row whose number must not exceed `limit`; `more` stands after it."""
    return Row(what, f"≤ {limit:g}{unit}", f"{measured:{style}}{unit}{more}", bool(measured <= limit))


def at_least(what: str, measured: float, limit: float, style: str = ".2f", *, unit: str = "", more: str = "") -> Row:
    """A row whose number must reach `limit`; `more` stands after it."""
    return Row(what, f"≥ {limit:g}{unit}", f"{measured:{style}}{unit}{more}", bool(measured >= limit))


def within(what: str, measured: float, low: float, high: float, style: str = ".2f", *, unit: str = "") -> Row:
    """A row whose number must lie in a band: more is not better."""
    met = bool(low <= measured <= high)
    return Row(what, f"{low:g} to {high:g}{unit}", f"{measured:{style}}{unit}", met)


def share_interval(successes: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: what stands beside a margin that is thin."""
    if total == 0:
        return 0.0, 1.0
    share, spread = successes / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z * float(np.sqrt(share * (1 - share) / total + spread / (4 * total))) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: Sequence[float], seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """The bootstrap's 95 % interval of a mean."""
    random, numbers = np.random.default_rng(seed), np.asarray(values, float)
    means = numbers[random.integers(len(numbers), size=(resamples, len(numbers)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *lines])


class Part:
    """A page of goals: a name, a title, and what a reader must know of how they are measured."""

    def __init__(self, name: str, title: str, explanation: str = "") -> None:
        self.name, self.title, self.explanation = name, title, explanation
        self.goals: dict[str, Measure] = {}

    def goal(self, name: str) -> Callable[[Measure], Measure]:
        """Registers a measurement under `name`, in the order of the page."""

        def register(measure: Measure) -> Measure:
            self.goals[name] = measure
            return measure

        return register

    def run(self, place: Place, names: Sequence[str], out: Path) -> bool:
        """Measure `names`, or everything, keep it and write the page into the folder `out`. Whether all was met."""
        kept = read_kept(out)
        mine: dict[str, Any] = kept.setdefault(self.name, {})
        for name in names or self.goals:
            print(f"{self.name}: {name} …", flush=True)
            mine[name] = _measured(name, self.goals[name], place)
            for row in mine[name]["rows"]:
                print(f"  {row['what']}: {row['measured']} ({row['goal']}){'' if row['met'] else ' SHORT'}", flush=True)
            (out / KEPT_NAME).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (out / f"{self.name}.md").write_text(self.page(mine, datetime.now(UTC)), encoding="utf-8")
        return all(row["met"] for name in names or self.goals for row in mine[name]["rows"])

    def page(self, mine: dict[str, Any], made_utc: datetime) -> str:
        """The whole page, from what was measured by name."""
        named = [(name, Row(**row)) for name in self.goals if name in mine for row in mine[name]["rows"]]
        lines = [[row.what, row.goal, row.measured, row.verdict, f"`{name}`"] for name, row in named]
        short = sum(not row.met for _, row in named)
        missing = [name for name in self.goals if name not in mine]
        verdict = "Every goal is met." if not short and not missing else f"{short} of {len(named)} rows are short."
        if missing:
            verdict += f" Not measured: {', '.join(missing)}."
        costs = [
            [f"`{name}`", f"{mine[name]['cpu_s']:g}", f"{mine[name]['wall_s']:g}", mine[name]["made_utc"]]
            for name in self.goals
            if name in mine
        ]
        parts = [
            f"# {self.title}: goals",
            f"Written by `python -m goals {self.name}` on {made_utc:%Y-%m-%d}, {os.cpu_count()} cores. {verdict}",
            table(("", "goal", "measured", "", "row"), lines),
            *(mine[name]["details"] for name in self.goals if name in mine and mine[name]["details"]),
            self.explanation,
            f"What it took; one row again with `python -m goals {self.name} --row NAME`:",
            table(("row", "processor s", "wall s", "measured, UTC"), costs),
        ]
        return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def read_kept(out: Path) -> dict[str, Any]:
    """Everything that was measured before, by part and name."""
    try:
        kept: dict[str, Any] = json.loads((out / KEPT_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept


def _measured(name: str, measure: Measure, place: Place) -> dict[str, Any]:
    cpu_s, wall_s = _cpu_s(), time.perf_counter()
    try:
        found = measure(place)
        found = found if isinstance(found, Measured) else Measured(list(found))
    except Exception as error:  # a crash is one of the outcomes that are told
        found = Measured([Row(name, "measured", f"failed: {type(error).__name__}: {error}"[:300], False)])
    return {
        "rows": [asdict(row) for row in found.rows],
        "details": found.details,
        "cpu_s": round(_cpu_s() - cpu_s, 1),
        "wall_s": round(time.perf_counter() - wall_s, 1),
        "made_utc": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
    }


def _cpu_s() -> float:
    """Processor time of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
