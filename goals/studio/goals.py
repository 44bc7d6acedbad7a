"""The page's goals, as a visitor in headless Chromium: clicks, breakpoints, previews, sessions, moments of failure."""

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from goals.goal import Part, Place, Row
from goals.studio import rows as measured
from goals.studio.rows import Proof, nano_server
from tests.browser.conftest import CHROMIUM, FLAGS, sync_api
from tests.serving import serving

PART = Part(
    "studio",
    "The studio",
    """
Headless Chromium through Playwright, a new visitor for each row; pictures are kept beside the videos. The rows about
random moments run the real page, queue, store and worker on the tests' small engine, every other row the bundled nano.
What is slowed is held between a step's settings and the step, by a file.
""",
)


def _row(name: str, row: Callable[..., None]) -> None:
    @PART.goal(name)
    def measure(place: Place) -> list[Row]:
        if CHROMIUM is None:
            sys.exit("Chromium is not installed (Debian: apt install chromium)")
        with tempfile.TemporaryDirectory() as folder, sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            proof = Proof(browser, place.videos, Path(folder))
            if name == "moments":
                row(proof, random.Random(int(place.options.get("seed", "0"))))
            else:
                server = nano_server(proof.folder / "nano")
                with serving(*server.command, port=server.port, log=server.log):
                    row(proof, server)
            browser.close()
            return proof.rows


for _name, _measure in {
    "newcomer": measured.newcomer,
    "breakpoint": measured.breakpoint_row,
    "live-preview": measured.live_preview,
    "sessions": measured.sessions,
    "settings": measured.settings,
    "looks": measured.looks,
    "moments": measured.moments,
}.items():
    _row(_name, _measure)
