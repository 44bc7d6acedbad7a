"""Build the folder to push to a Hugging Face Space, and start it as a Space would: `python space/build.py FOLDER`.

The folder holds what git knows of the parts that run, so that nothing private slips in. `--start` installs it in a
virtual environment of its own, with the packages that Spaces adds, starts it as Spaces does, lets it make a video
through its API, says how long page and video took, and stops it again.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = (
    *("app.py", "README.md", "LICENSE", "NOTICE", "packages.txt"),
    *("echomimic", "engine", "studio", "trainer", "assets", "docs", "examples"),
)
DEVELOPMENT = "# To develop."
"""The line of requirements.txt behind which a Space needs nothing."""
LARGE = ("*.safetensors", "*.jpg", "*.png", "*.wav")
EXAMPLE = ("assets/examples/02_navy-portrait.jpg", "assets/examples/01_welcome.wav")
GOAL_S = 20.0
PATIENCE_S = 180.0


def build(folder: Path) -> None:
    """Make `folder` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z", *PARTS], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8").partition(DEVELOPMENT)[0]
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE)
    (folder / ".gitattributes").write_text(attributes, encoding="utf-8")


def added_by_spaces(folder: Path) -> list[str]:
    """What Spaces installs in the same breath as the requirements; the version stands in the README."""
    front = (folder / "README.md").read_text(encoding="utf-8").split("---")[1]
    version = next(line.partition(":")[2].strip() for line in front.splitlines() if line.startswith("sdk_version"))
    return [f"gradio[oauth,mcp]=={version}", "uvicorn>=0.14.0", "websockets>=10.4", "spaces"]


def install(folder: Path, environment: Path) -> Path:
    """A virtual environment with what the Space's folder asks for. Returns its Python."""
    venv.create(environment, clear=True, with_pip=True)
    python = environment / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]
    subprocess.run([*command, *added_by_spaces(folder)], cwd=folder, check=True)
    return python


def start(folder: Path, python: Path) -> tuple[float, float]:
    """Start the Space and stop it. Returns the seconds until its page answered and until its first video was made."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        variables = {"PATH": os.environ["PATH"], "HOME": home, "SPACE_ID": "someone/echomimic-studio"}
        variables |= {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port)}
        began_s = time.monotonic()
        process = subprocess.Popen([python, "app.py"], cwd=folder, env=variables)
        try:
            page_s = _wait_for_page(f"http://127.0.0.1:{port}/", process, began_s)
            ask = [python, "examples/api.py", *EXAMPLE, f"{home}/talk.mp4", f"http://127.0.0.1:{port}"]
            subprocess.run(ask, cwd=folder, env=variables, check=True)
            video_s = time.monotonic() - began_s
        finally:
            process.terminate()
            process.wait(30)
    return page_s, video_s


def _wait_for_page(address: str, process: subprocess.Popen[bytes], began_s: float) -> float:
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return time.monotonic() - began_s
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None:
                sys.exit(f"the Space ended by itself with {process.returncode}")
            if time.monotonic() - began_s > PATIENCE_S:
                sys.exit(f"the Space was not there after {PATIENCE_S:.0f} s")
            time.sleep(0.1)


def main() -> int:
    """Exit code 0, or 1 where the Space took too long."""
    parser = argparse.ArgumentParser(description="Build the folder of a Hugging Face Space.")
    parser.add_argument("folder", type=Path, help="where to build it; what is there is replaced")
    parser.add_argument("--start", action="store_true", help="install it beside and start it once")
    options = parser.parse_args()
    folder = options.folder.resolve()
    build(folder)
    print(f"{folder}: ready to push")
    if not options.start:
        return 0
    page_s, video_s = start(folder, install(folder, folder.with_name(f"{folder.name}-venv")))
    print(f"page after {page_s:.1f} s, first video after {video_s:.1f} s (goal: the page in {GOAL_S:.0f} s)")
    return 0 if page_s < GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())
