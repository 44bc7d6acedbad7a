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
LARGE = ("*.safetensors", "*.jpg", "*.png", "*.wav", "*.opus", "*.npy")
EXAMPLE = ("assets/examples/02_navy-portrait.jpg", "assets/examples/01_welcome.wav")
SPACE = "someone/echomimic-studio"
LOGIN_BUTTON = "review-login"
"""The button's id on the page."""
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
    return [
        f"gradio[oauth,mcp]=={front_matter(folder)['sdk_version']}",
        "uvicorn>=0.14.0",
        "websockets>=10.4",
        "spaces",
    ]


def install(folder: Path, environment: Path) -> Path:
    """A virtual environment with what the Space's folder asks for. Returns its Python."""
    venv.create(environment, clear=True, with_pip=True)
    python = environment / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]
    subprocess.run([*command, *added_by_spaces(folder)], cwd=folder, check=True)
    return python


def front_matter(folder: Path) -> dict[str, str]:
    """The settings of the Space that stand at the top of its README, as they are written."""
    front = (folder / "README.md").read_text(encoding="utf-8").split("---")[1]
    pairs = (line.partition(":") for line in front.splitlines() if not line.startswith((" ", "#")))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs if name.strip()}


def spaces_variables(folder: Path, port: int) -> dict[str, str]:
    """What Spaces sets in the environment of `app.py`; the ones to log in with only where the README asks for them."""
    owner, name = SPACE.split("/")
    variables = {
        "SYSTEM": "spaces",
        "SPACE_ID": SPACE,
        "SPACE_HOST": f"{owner}-{name}.hf.space",
        "SPACE_AUTHOR_NAME": owner,
        "SPACE_REPO_NAME": name,
        "SPACE_TITLE": front_matter(folder)["title"],
        "CPU_CORES": "2",
        "MEMORY": "16Gi",
        "PYTHONUNBUFFERED": "1",
        "GRADIO_ALLOW_FLAGGING": "never",
        "GRADIO_NUM_PORTS": "1",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_THEME": "huggingface",
    }
    if front_matter(folder).get("hf_oauth") == "true":
        variables |= {
            "OAUTH_CLIENT_ID": "00000000-0000-0000-0000-000000000000",
            "OAUTH_CLIENT_SECRET": "secret-of-this-space",
            "OAUTH_SCOPES": "openid profile",
            "OPENID_PROVIDER_URL": "https://huggingface.co",
        }
    return variables


def start(folder: Path, python: Path) -> tuple[float, float]:
    """Start the Space and stop it. Returns the seconds until its page answered and until its first video was made."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        variables = {"PATH": os.environ["PATH"], "HOME": home} | spaces_variables(folder, port)
        began_s = time.monotonic()
        process = subprocess.Popen([python, "app.py"], cwd=folder, env=variables)
        try:
            page_s = _wait_for_page(f"http://127.0.0.1:{port}/", process, began_s)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/config", timeout=30) as page:
                if LOGIN_BUTTON not in page.read().decode():
                    sys.exit("nobody can log in on the Space, so nobody can label: the page has no button for it")
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
