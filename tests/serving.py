"""A server of the tests: a program of its own on a free port, waited for until it answers, killed at the end."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_S = 240.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(*command: str, port: int, log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python on `command`, from when it answers on `port` to the end of the block; uploads go beside its log.

    `variables` are added to its environment.
    """
    environment = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(log.parent / "uploads"), "TERM": "dumb"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=os.environ | environment | variables, stdout=output, stderr=output
        )
    try:
        wait_until_answering(port, process, log)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_answering(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server's page is there. AssertionError, with its log, where it ends or is too late."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"no answer in {START_S} s: {log.read_text()}")
