"""Compose the studio and launch it: `python app.py`.

The only place that knows both the page and the engine's heavy parts. The page answers first; torch and the face finder
are imported by a thread behind it, and the first job waits for that thread, not the visitor.
"""

import argparse
import importlib
import io
import ipaddress
import itertools
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from engine.contract.errors import UserError
from engine.contract.places import ASSETS
from engine.contract.progress import ProgressCallback, ignore_progress
from engine.contract.records import GenerationRecord
from engine.contract.request import GenerationRequest
from engine.contract.variants import NANO, find_variant
from studio.housekeeping import data_folder, keep_house
from studio.identity import Network
from studio.ports import EnginePorts, FilmView, Live, PortraitView, Readiness, VoiceView
from studio.spaces import surroundings
from studio.zero_gpu import on_zero_gpu

if TYPE_CHECKING:
    import numpy as np

    from engine.media.face import Face

EXAMPLES_FOLDER = ASSETS / "examples"
THUMBNAIL_SIDE_PX = 900
FIRST_FRAMES, FRAMES_APART = 150, 5
"""Where a film's face is looked for: in every fifth of its first frames, then nowhere."""
POSTER_FRAME = 25
log = logging.getLogger("echomimic")


class LocalEngine:
    """The engine of this process behind the page's ports; imports what is heavy when it is first needed."""

    def __init__(self, model: str) -> None:
        from engine.session import Session

        self._model = model
        self._session = Session()
        self._quick = Session()
        """Nano once more, for comparisons and drafts, which do not wait for the job that runs."""
        self._readiness = Readiness(ready=False)
        self._warm = threading.Event()

    def ports(self) -> EnginePorts:
        """The callables that the page is given."""
        return EnginePorts(
            generate=on_zero_gpu(self.generate),
            view_portrait=self.view_portrait,
            view_film=self.view_film,
            view_voice=self.view_voice,
            readiness=lambda: self._readiness,
            compare=self._once_warm(self._compare),
            preview_motion=self._once_warm(self._quick.preview_motion),
            draft=self._once_warm(self._quick.generate),
            poster=poster,
            export=_later("engine.media.export", "export"),
            write_motion=_later("engine.media.arkit", "write_motion"),
            notices=_later("engine.nano.words", "notices"),
        )

    def warm_up(self) -> None:
        """Load the model and the face finder. What goes wrong is kept for the page to say."""
        try:
            from engine.media import face  # noqa: F401 - imported early because it takes seconds

            self._session.warm_up(self._model)
            self._readiness = Readiness(ready=True)
            self._quick.warm_up(self._model if find_variant(self._model).is_nano else NANO.name)
        except UserError as error:
            self._readiness = Readiness(ready=False, failure=error.message)
        except Exception:  # a thread's error reaches nobody unless it is kept
            log.exception("the model could not be loaded")
            self._readiness = Readiness(ready=False, failure="The model could not be loaded; the log says why.")
        finally:
            self._warm.set()

    def generate(
        self,
        request: GenerationRequest,
        on_progress: ProgressCallback = ignore_progress,
        *,
        live: Live | None = None,
        keep_latents: Path | None = None,
        resume_folder: Path | None = None,
    ) -> GenerationRecord:
        """Make the request's video, once `warm_up` is through: two threads must not import torch's friends at once."""
        self._warm.wait()
        return self._session.generate(
            request, on_progress, live=live, keep_latents=keep_latents, resume_folder=resume_folder
        )

    def view_portrait(self, path: Path) -> PortraitView:
        """The upright picture, small, with its faces. Raises UserError."""
        from engine.media.face import find_faces
        from engine.media.picture import read_picture

        picture = read_picture(path)
        return _view(picture, find_faces(picture))

    def view_film(self, path: Path) -> FilmView:
        """The film's first frame that shows a face. Raises UserError."""
        from engine.media.face import detect_faces, find_faces
        from engine.media.video import probe, read_video_frames

        info = probe(path)
        faces, first = [], None
        for frame in itertools.islice(read_video_frames(path), 0, FIRST_FRAMES, FRAMES_APART):
            first, faces = (frame if first is None else first), detect_faces(frame)
            if faces:
                return FilmView(_view(frame, faces), info.duration_s, info.fps)
        if first is None:
            raise UserError(f"{path.name} holds no picture; choose another film.", "video")
        return FilmView(_view(first, find_faces(first, field="video")), info.duration_s, info.fps)

    def view_voice(self, path: Path) -> VoiceView:
        """The sound's length. Raises UserError."""
        from engine.media.audio import SAMPLE_RATE_HZ, is_silent, read_audio
        from engine.media.inputs import SILENCE_NOTICE

        notices: list[str] = []
        wave = read_audio(path, max_s=find_variant(self._model).max_audio_s, notices=notices)
        notices += [SILENCE_NOTICE] if is_silent(wave) else []
        return VoiceView(len(wave) / SAMPLE_RATE_HZ, " ".join(notices) or None)

    @cached_property
    def _comparer(self) -> Callable[..., Any]:
        """Kept, because it keeps what it has drawn."""
        from engine.compare import Comparer

        return Comparer(self._quick)

    def _compare(self, *given: Any) -> Any:
        return self._comparer(*given)

    def _once_warm(self, of_nano: Callable[..., Any]) -> Callable[..., Any]:
        """What nano does beside whatever job runs, once `warm_up` is through."""
        return lambda *given: of_nano(*given) if self._warm.wait() else None


def poster(video: Path) -> bytes:
    """The frame of a second into the video, or its last one, as a JPEG."""
    from engine.media.video import read_video_frames

    frame = None
    for frame in itertools.islice(read_video_frames(video), POSTER_FRAME + 1):  # noqa: B007 - the last one is wanted
        pass
    if frame is None:
        raise UserError(f"{video.name} holds no picture.", "video")
    return _jpeg(frame)


def _later(module: str, name: str) -> Any:
    """A function of the engine that is imported when it is first called."""

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments)

    return call


def _view(picture: "np.ndarray", faces: "list[Face]") -> PortraitView:
    from engine.media.covered import portrait_notice
    from engine.media.lip_region import lip_box

    height_px, width_px = picture.shape[:2]
    boxes = tuple(face.box for face in faces)
    lips = tuple(lip_box(face.landmarks_px, (height_px, width_px)) for face in faces)
    return PortraitView(_jpeg(picture), "image/jpeg", width_px, height_px, boxes, portrait_notice(picture, faces), lips)


def _jpeg(picture: "np.ndarray") -> bytes:
    from PIL import Image

    thumbnail = Image.fromarray(picture)
    thumbnail.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX))
    file = io.BytesIO()
    thumbnail.save(file, "JPEG", quality=88)
    return file.getvalue()


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
    around = surroundings()
    parser.add_argument("--host", default=around.host, help=f"address to listen on (default: {around.host})")
    parser.add_argument("--port", type=_port, default=around.port, help=f"port to listen on (default: {around.port})")
    parser.add_argument("--model", default="nano", help="a model's name or its folder (default: nano)")
    parser.add_argument(
        "--data", type=Path, default=around.data, help="folder for jobs and videos (default: the user's data folder)"
    )
    parser.add_argument(
        "--auth",
        type=_login,
        metavar="USER:PASSWORD",
        action="append",
        help="ask for this login; give it again for more, the first leads",
    )
    parser.add_argument(
        "--public-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name of your own by which the studio is asked for; give it again for more",
    )
    parser.add_argument(
        "--proxy",
        type=_network,
        action="append",
        metavar="ADDRESS",
        help="believe X-Forwarded-For from this address or network, e.g. 10.0.0.0/8; give it again for more",
    )
    parser.add_argument("--labels", metavar="URL", help="PostgreSQL database for labels (default: in the data folder)")
    limits: dict[str, Any] = {"type": _positive, "metavar": "N"}
    each, every, hours = (count or "any" for count in (around.jobs_each, around.jobs, around.keep_hours))
    parser.add_argument(
        "--jobs-each",
        default=around.jobs_each,
        help=f"jobs that one visitor may have waiting (default: {each})",
        **limits,
    )
    parser.add_argument(
        "--jobs", default=around.jobs, help=f"jobs that may be waiting in all (default: {every})", **limits
    )
    parser.add_argument(
        "--keep-hours",
        default=around.keep_hours,
        help=f"delete ended jobs and uploads after so long (default: {hours})",
        **limits,
    )
    parser.add_argument("--share", action="store_true", help="also open a public address through Gradio's relay")
    return parser.parse_args(arguments)


def _port(value: str) -> int:
    if not value.isdigit() or not 1 <= int(value) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535; got {value!r}")
    return int(value)


def _network(value: str) -> Network:
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a proxy is an address or a network, e.g. 10.0.0.0/8; got {value!r}"
        ) from None


def _positive(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"give a whole number from 1 on; got {value!r}")
    return int(value)


def _login(value: str) -> tuple[str, str]:
    user, colon, password = value.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("a login is USER:PASSWORD, neither of them empty")
    return user, password


def _serve(options: argparse.Namespace) -> None:
    from filelock import FileLock, Timeout

    _check_port(options.host, options.port)
    folder = data_folder(options.data)
    try:
        os.umask(0o077)  # what is written from here on is this account's alone
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
    from studio.front_door import own_names
    from studio.jobs import JobStore
    from studio.kept_logins import keep_logins
    from studio.review.desk import ReviewDesk
    from studio.service import Limits, Studio
    from studio.worker import Worker

    engine = LocalEngine(options.model)
    ports = engine.ports()
    store = JobStore(folder)
    left = store.recover()
    if left:
        print(f"Interrupted by the last stop: {left} job(s); the page offers to run them again.")
    limits = Limits(options.jobs_each, options.jobs, options.keep_hours and options.keep_hours * 3600.0)
    studio = Studio(ports, store, Worker(store, ports), options.model, limits)
    review = ReviewDesk(studio, options.labels)
    page = build_page(studio, find_examples(EXAMPLES_FOLDER), review)
    around = surroundings()
    # Behind a relay the name is the relay's; a Space is nobody's own machine, whatever it is called.
    names = None if options.share or around.is_space else own_names(options.host, options.public_name)
    page.launch(
        server_name=options.host,
        server_port=options.port,
        auth=options.auth,
        share=options.share,
        prevent_thread_lock=True,
        quiet=not options.share,
        _frontend=False,  # or a machine that is busy at this moment would be taken for one without a localhost
        **launch_options(studio, review, names=names, proxies=options.proxy or around.proxies),
    )
    keep_logins(page.app, folder)
    print(f"EchoMimic Studio: {page.local_url} (Ctrl-C stops it; jobs and videos are in {folder})", flush=True)
    threading.Thread(target=engine.warm_up, name="warm-up", daemon=True).start()
    studio.worker.start()
    review.start()
    keep_house(store, folder, limits.keep_s)
    if around.labels_dataset and around.token:
        from studio.label_backup import begin_backup

        begin_backup(review.store, review.clips, folder / "label-events", around.labels_dataset, around.token)
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


if __name__ == "__main__":
    sys.exit(main())
