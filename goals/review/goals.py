"""The review tab's goals: labels under kill -9, and times with many clips, on SQLite and PostgreSQL."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from goals.goal import Part, Place, Row, at_most
from goals.review.kills import label_through_kills
from goals.review.scale import time_at_scale
from tests.studio.review.postgres import PostgresServer, why_no_postgres

PART = Part(
    "review",
    "The review tab",
    "Each database is a server of its own; PostgreSQL is left out where it is not installed.",
)
NEXT_MS, UNDO_MS, AGREEMENT_MS = 50.0, 50.0, 2000.0


def _on_both(name: str, measure: Callable[[str, str, Path], list[Row]]) -> list[Row]:
    """`measure(database, url, folder)` on SQLite, and on PostgreSQL where there is one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = measure("SQLite", f"sqlite:///{folder / name}.sqlite", folder)
        if missing := why_no_postgres():
            return [*rows, Row(f"{name}, PostgreSQL", "measured", f"left out: {missing}", False)]
        with PostgresServer() as server:
            return rows + measure("PostgreSQL", server.new_database(name), folder)


@PART.goal("kills")
def _kills(place: Place) -> list[Row]:
    """`--set kills=100`."""
    kills = int(place.options.get("kills", "100"))

    def measure(database: str, url: str, folder: Path) -> list[Row]:
        outcome = label_through_kills(url, folder, kills)
        measured = (
            f"{outcome.labels} labels, {outcome.acknowledged} keys acknowledged: {outcome.lost} lost, "
            f"{outcome.doubled} doubled, {outcome.answers_off} answers off"
        )
        met = outcome.lost == outcome.doubled == outcome.answers_off == 0 and outcome.acknowledged > kills
        what = f"kill -9 of the server at {kills} random moments, labelling at 5 a second, {database}"
        return [Row(what, "0 acknowledged labels lost, 0 doubled", measured, met)]

    return _on_both("kills", measure)


@PART.goal("scale")
def _scale(place: Place) -> list[Row]:
    """`--set clips=100000`."""
    clips = int(place.options.get("clips", "100000"))

    def measure(database: str, url: str, folder: Path) -> list[Row]:
        times = time_at_scale(url, clips)
        where = f"{clips:,} clips, {times.events:,} events, {database}"

        def row(name: str, median: float, slowest: float, cpu: float, goal: float) -> Row:
            more = f" (median; slowest {slowest:.1f} ms; {cpu:.1f} ms of the server's processor)"
            return at_most(f"{name}, {where}", median, goal, ".1f", unit=" ms", more=more)

        return [
            row("next clip", times.next_ms, times.next_slowest_ms, times.next_cpu_ms, NEXT_MS),
            row("undo", times.undo_ms, times.undo_slowest_ms, times.undo_cpu_ms, UNDO_MS),
            row("agreement page", times.agreement_ms, times.agreement_ms, times.agreement_cpu_ms, AGREEMENT_MS),
        ]

    return _on_both("scale", measure)
