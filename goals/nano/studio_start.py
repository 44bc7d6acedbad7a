"""How long the studio takes from its process start to a page that answers, as its user waits for it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

POLL_S = 0.05
GIVE_UP_S = 60.0


def studio_start_s() -> float | None:
    """Seconds until `app.py`, started from the working directory on a free port, serves its page; None after 60 s.

    The environment is set up and nothing is warm but the disk cache. The studio is stopped again.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port), "--data", data]
        start_s = time.perf_counter()
        studio = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            while (waited_s := time.perf_counter() - start_s) < GIVE_UP_S and studio.poll() is None:
                if _answers(port):
                    return waited_s
                time.sleep(POLL_S)
            return None
        finally:
            if studio.poll() is None:
                os.killpg(studio.pid, signal.SIGTERM)
            studio.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=GIVE_UP_S) as page:
            return page.status == 200 and b"<html" in page.read().lower()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
