"""Measures what the studio promises and writes it down, with pictures: `make proof-studio`. Rows: `proof_rows`."""

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from tests.browser import proof_rows
from tests.browser.conftest import CHROMIUM, FLAGS, sync_api
from tests.browser.proof_rows import Proof, Row, nano_server
from tests.browser.studio_steps import Server
from tests.serving import serving


def report(rows: list[Row], out: Path, took_s: float) -> None:
    """Write the table."""
    short = sum(not row.met for row in rows)
    lines = [f"| {row.what} | {row.goal} | {row.measured} | {'met' if row.met else '**short**'} |" for row in rows]
    out.write_text(
        "# Proof of the studio\n\n"
        f"Written by `make proof-studio` on {date.today()}, {os.cpu_count()} cores of {platform.machine()}, load "
        f"average {os.getloadavg()[0]:.1f}, in {took_s / 60:.0f} min. {short} of {len(rows)} goals are short.\n\n"
        "|  | goal | measured |  |\n| --- | --- | --- | --- |\n" + "\n".join(lines) + "\n\n"
        "Headless Chromium through Playwright, a new visitor for each row; pictures are kept in `out/proof-studio/`. "
        "The rows about random moments run the real page, queue, store and worker on the tests' small engine, every "
        "other row the bundled nano. What is slowed is held between a step's settings and the step, by a file.\n",
        encoding="utf-8",
    )


def measure(keep: Path, seed: int, only: Sequence[str]) -> list[Row]:
    """All rows, one after the other."""
    with tempfile.TemporaryDirectory() as name, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        proof = Proof(browser, keep, Path(name))
        server = nano_server(proof.folder / "nano")
        rows: list[Callable[[Proof, Server], None]] = [
            proof_rows.newcomer,
            proof_rows.breakpoint_row,
            proof_rows.live_preview,
            proof_rows.sessions,
            proof_rows.settings,
            proof_rows.looks,
        ]
        with serving(*server.command, port=server.port, log=server.log):
            for row in rows:
                if not only or row.__name__ in only:
                    _kept(proof, row.__name__, lambda row=row: row(proof, server))  # type: ignore[misc]
        if not only or "moments" in only:
            _kept(proof, "moments", lambda: proof_rows.moments(proof, random.Random(seed)))
        browser.close()
    return proof.rows


def _kept(proof: Proof, name: str, row: Callable[[], None]) -> None:
    """A row that cannot be measured is short, and does not keep the others from being measured."""
    try:
        row()
    except (AssertionError, sync_api.Error, StopIteration, IndexError) as error:
        proof.row(name, "measured", f"could not be: {str(error).splitlines()[0] if str(error) else error!r}", False)


def main() -> int:
    """Exit code 0 where every goal is met."""
    parser = argparse.ArgumentParser(description="Measures what the studio promises.")
    parser.add_argument("--out", type=Path, default=Path("docs/proof-studio.md"))
    parser.add_argument("--keep", type=Path, default=Path("out/proof-studio"), help="folder for the screenshots")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--only", nargs="*", default=(), help="names of rows")
    options = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("Chromium is not installed (Debian: apt install chromium)")
    options.keep.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    rows = measure(options.keep, options.seed, options.only)
    report(rows, options.out, time.monotonic() - began_s)
    return int(any(not row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
