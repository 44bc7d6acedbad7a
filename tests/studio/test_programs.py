"""A program goes on without the studio that started it, ends as it ends, and stops for any studio that asks."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio import programs

PATIENCE_S = 60.0
STUDIO = """
import signal, sys
from pathlib import Path
from studio import programs
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background job
programs.start(Path(sys.argv[1]), [sys.executable, "-c", sys.argv[2]], {})
"""


def start_and_be_gone(folder: Path, program: str) -> None:
    subprocess.run([sys.executable, "-c", STUDIO, str(folder), program], cwd=programs.ROOT, check=True)


def wait_until(reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def ended(folder: Path) -> programs.State:
    wait_until(lambda: programs.state_of(folder) != "running")
    return programs.state_of(folder)


@pytest.mark.parametrize(("code", "state"), [(0, "done"), (2, "failed")])
def test_how_it_ended_is_known_though_its_studio_was_gone(tmp_path: Path, code: int, state: programs.State):
    start_and_be_gone(tmp_path, f"import time; time.sleep(0.5); print('last words'); raise SystemExit({code})")
    assert programs.state_of(tmp_path) == "running"
    assert ended(tmp_path) == state
    assert programs.last_words(tmp_path) == "last words"


def test_it_stops_for_another_studio_though_it_was_started_where_ctrl_c_is_ignored(tmp_path: Path):
    start_and_be_gone(tmp_path, "import time; print('up', flush=True); time.sleep(600)")
    wait_until(lambda: programs.last_words(tmp_path) == "up")
    programs.stop(tmp_path)
    assert ended(tmp_path) == "stopped"
    programs.stop(tmp_path)  # of what has ended, it says nothing


def test_one_that_was_killed_with_all_that_watched_it_has_failed(tmp_path: Path):
    start_and_be_gone(tmp_path, "import os, signal; os.killpg(0, signal.SIGKILL)")
    assert ended(tmp_path) == "failed"
