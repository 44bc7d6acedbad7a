"""`python -m tests.proofs.review [--kills N] [--clips N] [--out FILE.md]`: what the review tab promises, measured.

Kill -9 while labelling, and times with many clips, on SQLite and, where it is installed, on a PostgreSQL server of its
own. Exit 0 where every goal is met, 1 where one is not.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.proofs.review_kills import label_through_kills
from tests.proofs.review_scale import time_at_scale
from tests.studio.review.postgres import PostgresServer, why_no_postgres

NEXT_MS, UNDO_MS, AGREEMENT_MS = 50.0, 50.0, 2000.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and say whether every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.review", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    rows: list[tuple[str, str, str, bool]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.kills:
            rows.append(_kills("SQLite", f"sqlite:///{folder / 'kills.sqlite'}", folder, options.kills))
        if options.clips:
            rows += _scale("SQLite", f"sqlite:///{folder / 'scale.sqlite'}", options.clips)
        missing = why_no_postgres()
        if missing:
            print(f"PostgreSQL left out: {missing}", file=sys.stderr)
        else:
            with PostgresServer() as server:
                if options.kills:
                    rows.append(_kills("PostgreSQL", server.new_database("kills"), folder, options.kills))
                if options.clips:
                    rows += _scale("PostgreSQL", server.new_database("scale"), options.clips)
    lines = ["| | goal | measured | |", "|---|---|---|---|"]
    lines += [f"| {what} | {goal} | {measured} | {'met' if met else 'not met'} |" for what, goal, measured, met in rows]
    print("\n".join(lines))
    if options.out:
        options.out.write_text("# The review tab's proof\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return 0 if all(met for *_, met in rows) else 1


def _kills(database: str, url: str, folder: Path, kills: int) -> tuple[str, str, str, bool]:
    outcome = label_through_kills(url, folder, kills)
    measured = (
        f"{outcome.labels} labels, {outcome.acknowledged} keys acknowledged: {outcome.lost} lost, "
        f"{outcome.doubled} doubled, {outcome.answers_off} answers off"
    )
    met = outcome.lost == outcome.doubled == outcome.answers_off == 0 and outcome.acknowledged > kills
    what = f"kill -9 of the server at {kills} random moments, labelling at 5 a second, {database}"
    print(what, measured, flush=True)
    return what, "0 acknowledged labels lost, 0 doubled", measured, met


def _scale(database: str, url: str, clips: int) -> list[tuple[str, str, str, bool]]:
    times = time_at_scale(url, clips)
    print(times, flush=True)
    where = f"{clips:,} clips, {times.events:,} events, {database}"

    def row(name: str, median: float, slowest: float, cpu: float, goal: float) -> tuple[str, str, str, bool]:
        measured = f"median {median:.1f} ms, slowest {slowest:.1f} ms; {cpu:.1f} ms of the server's CPU"
        return f"{name}, {where}", f"≤ {goal:g} ms", measured, median <= goal

    return [
        row("next clip", times.next_ms, times.next_slowest_ms, times.next_cpu_ms, NEXT_MS),
        row("undo", times.undo_ms, times.undo_slowest_ms, times.undo_cpu_ms, UNDO_MS),
        row("agreement page", times.agreement_ms, times.agreement_ms, times.agreement_cpu_ms, AGREEMENT_MS),
    ]


if __name__ == "__main__":
    sys.exit(main())
