"""Compose the studio and launch it: `python app.py`.

The only place that knows both the page and the engine's heavy parts. The page answers first; torch and the face finder
are imported by a thread behind it, and the first job waits for that thread, not the visitor.
"""

import argparse
import io
import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from engine.errors import UserError
from engine.variants import find_variant
from studio.ports import EnginePorts, PortraitView, Readiness, VoiceView

EXAMPLES_FOLDER = Path(__file__).parent / "assets" / "examples"
THUMBNAIL_SIDE_PX = 900
log = logging.getLogger("echomimic")


class LocalEngine:
    """The engine of this process behind the page's ports; imports what is heavy when it is first needed."""

    def __init__(self, model: str) -> None:
        from engine.session import Session

        self._model = model
        self._session = Session()
        self._readiness = Readiness(ready=False)

    def ports(self) -> EnginePorts:
        """The callables that the page is given."""
        return EnginePorts(self._session.generate, self.view_portrait, self.view_voice, lambda: self._readiness)

    def warm_up(self) -> None:
        """Load the model and the face finder. What goes wrong is kept for the page to say."""
        try:
            from engine.media import face  # noqa: F401 - imported early because it takes seconds

            self._session.warm_up(self._model)
            self._readiness = Readiness(ready=True)
        except UserError as error:
            self._readiness = Readiness(ready=False, failure=error.message)
        except Exception:  # a thread's error reaches nobody unless it is kept
            log.exception("the model could not be loaded")
            self._readiness = Readiness(ready=False, failure="The model could not be loaded; the log says why.")

    def view_portrait(self, path: Path) -> PortraitView:
        """The upright picture, small, with its faces. Raises UserError."""
        from PIL import Image

        from engine.media.face import find_faces, several_faces_notice
        from engine.media.picture import read_picture

        picture = read_picture(path)
        faces = find_faces(picture)
        height_px, width_px = picture.shape[:2]
        thumbnail = Image.fromarray(picture)
        thumbnail.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX))
        file = io.BytesIO()
        thumbnail.save(file, "JPEG", quality=88)
        boxes = tuple(face.box for face in faces)
        notice = several_faces_notice(faces)
        return PortraitView(file.getvalue(), "image/jpeg", width_px, height_px, boxes, notice)

    def view_voice(self, path: Path) -> VoiceView:
        """The sound's length. Raises UserError."""
        from engine.inputs import SILENCE_NOTICE
        from engine.media.audio import SAMPLE_RATE_HZ, is_silent, read_audio

        wave = read_audio(path, max_s=find_variant(self._model).max_audio_s)
        return VoiceView(len(wave) / SAMPLE_RATE_HZ, SILENCE_NOTICE if is_silent(wave) else None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the studio until it is stopped. Returns 0, or 2 where the flags or the port are wrong."""
    options = _parse(arguments)
    try:
        find_variant(options.model)
        _serve(options)
    except UserError as error:
        print(f"app.py: {error.message}", file=sys.stderr)
        return 2
    return 0


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _OneLineParser(prog="app.py", description="EchoMimic Studio: the web page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=_port, default=7860, help="port to listen on (default: 7860)")
    parser.add_argument("--model", default="nano", help="a model's name or its folder (default: nano)")
    parser.add_argument("--data", type=Path, help="folder for jobs and videos (default: the user's data folder)")
    parser.add_argument("--auth", type=_login, metavar="USER:PASSWORD", help="ask for this login")
    parser.add_argument("--share", action="store_true", help="also open a public address through Gradio's relay")
    return parser.parse_args(arguments)


def _port(value: str) -> int:
    if not value.isdigit() or not 1 <= int(value) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535; got {value!r}")
    return int(value)


def _login(value: str) -> tuple[str, str]:
    user, colon, password = value.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("a login is USER:PASSWORD, neither of them empty")
    return user, password


def _serve(options: argparse.Namespace) -> None:
    from filelock import FileLock, Timeout

    _check_port(options.host, options.port)
    folder = _data_folder(options.data)
    try:
        with FileLock(folder / "studio.lock", timeout=0):
            _compose_and_launch(options, folder)
    except Timeout:
        message = f"Another studio uses the data folder {folder}; stop it, or choose another with --data."
        raise UserError(message, "data") from None


def _compose_and_launch(options: argparse.Namespace, folder: Path) -> None:
    # Read by Gradio when it is imported, so both are set before: nothing is reported to anyone, uploads stay with us.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    from studio.stubs import no_stub_files

    with no_stub_files():
        from studio.ui import build_page, launch_options
    from studio.examples import find_examples
    from studio.jobs import JobStore
    from studio.service import Studio
    from studio.worker import Worker

    engine = LocalEngine(options.model)
    ports = engine.ports()
    store = JobStore(folder)
    left = store.recover()
    if left:
        print(f"Interrupted by the last stop: {left} job(s); the page offers to run them again.")
    studio = Studio(ports, store, Worker(store, ports.generate), options.model)
    page = build_page(studio, find_examples(EXAMPLES_FOLDER))
    page.launch(
        server_name=options.host,
        server_port=options.port,
        auth=options.auth,
        share=options.share,
        prevent_thread_lock=True,
        quiet=not options.share,
        **launch_options(studio),
    )
    print(f"EchoMimic Studio: {page.local_url} (Ctrl-C stops it; jobs and videos are in {folder})", flush=True)
    threading.Thread(target=engine.warm_up, name="warm-up", daemon=True).start()
    studio.worker.start()
    page.block_thread()


def _check_port(host: str, port: int) -> None:
    """Said before anything slow is imported, and in our words."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            message = f"Cannot listen on {host}:{port} ({reason}); choose another --host or --port."
            raise UserError(message, "port") from None


def _data_folder(asked: Path | None) -> Path:
    from platformdirs import user_data_path

    folder = (asked or user_data_path("echomimic-studio", appauthor=False)).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"The data folder {folder} cannot be written ({reason}); choose another with --data."
        raise UserError(message, "data") from error
    return folder


if __name__ == "__main__":
    sys.exit(main())
