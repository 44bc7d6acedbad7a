"""A small real engine for the studio's tests: no model, but real pictures, real sound and a real mp4 with progress.

A picture of one flat colour has no face; one that is twice as wide as high has two. Every step asks for its live
settings and leaves a line in the video: where the line is depends on them, so that other settings give other frames.
While the file `hold` is there, a step that has begun does not end; a number in it is the first step that is held.
"""

import hashlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from engine.contract.comparison import Comparison, Seen
from engine.contract.errors import FaceNotFound, StopEarly
from engine.contract.progress import Progress, ProgressCallback, ignore_progress
from engine.contract.records import METADATA_KEY, GenerationRecord, without_places
from engine.contract.request import INPUT_FIELDS, GenerationRequest
from engine.contract.settings import LiveSettings
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from engine.media.export import export
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter, probe
from engine.nano.words import notices
from studio.ports import EnginePorts, FilmView, Live, PortraitView, Readiness, VoiceView
from tests.studio.small_speaker import COMMAND

FPS = 25
MAX_AUDIO_S = 30.0
TWO_FACES_NOTICE = "Two faces found: the larger one speaks."
STEPS_FILE = "steps.json"
HOLD_FILE = "hold"


class SmallEngine:
    """Lets a bar run over the portrait. `pause_s` is slept in each of the request's steps."""

    def __init__(self, pause_s: float = 0.0, hold: Path | None = None) -> None:
        self.pause_s = pause_s
        self.hold = hold
        self.seeds_done: list[int] = []
        self.steps_computed: list[int] = []

    def ports(self) -> EnginePorts:
        return EnginePorts(
            self.generate,
            view_portrait,
            view_film,
            view_voice,
            lambda: Readiness(ready=True),
            self.compare,
            lambda request, at_s: _encoded(Image.new("RGB", (16, 16), "red"), "WEBP"),
            lambda request: SmallEngine().generate(request, ignore_progress),
            lambda video: _encoded(Image.new("RGB", (16, 16), "green"), "JPEG"),
            export,
            lambda video, out: out.write_text("Timecode\n"),
            notices,
        )

    def generate(
        self,
        request: GenerationRequest,
        on_progress: ProgressCallback,
        *,
        live: Live | None = None,
        keep_latents: Path | None = None,
        resume_folder: Path | None = None,
    ) -> GenerationRecord:
        picture, box, notice = _still(request)
        wave = read_audio(request.audio, max_s=MAX_AUDIO_S)
        used, notices = self._steps(request, on_progress, live, resume_folder, picture)
        frames = max(1, round(len(wave) / SAMPLE_RATE_HZ * FPS))
        height, width = picture.shape[:2]
        record = GenerationRecord(
            request=request,
            settings_by_step=tuple(used) if any(step != request.settings.live for step in used) else (),
            checkpoint_sha256=hashlib.sha256(request.model.encode()).hexdigest(),
            inputs_sha256={name: _sha256(path) for name in INPUT_FIELDS if (path := getattr(request, name))},
            face_box=request.face_box or box,
            width_px=width,
            height_px=height,
            num_frames=frames,
            fps=FPS,
            notices=(*((notice,) if notice else ()), *notices),
        )
        metadata = {METADATA_KEY: without_places(record).model_dump_json(exclude={"seconds"})}
        with VideoWriter(request.out, (width, height), FPS, wave, metadata=metadata) as writer:
            for index in range(frames):
                on_progress(Progress(stage="decoding", done=index, total=frames, fraction=1.0, seconds_left=0.0))
                writer.write(_with_lines(picture, index, used))
        if keep_latents is not None:
            keep_latents.write_bytes(b"latents")
        self.seeds_done.append(request.seed)
        return record

    def compare(self, before: GenerationRequest, after: GenerationRequest, at_s: float) -> Comparison:
        """The mouth opens as the voice's guidance says."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "seen.mp4"
            SmallEngine().generate(after.model_copy(update={"out": out}), lambda progress: None)
            mp4 = out.read_bytes()

        def seen(request: GenerationRequest, more: float = 0.0) -> Seen:
            return Seen((request.settings.phda.audio.low / 100 + more,) * 30, ((more, 0.0),) * 30)

        return Comparison(mp4, seen(before), seen(after), seen(before, 0.2))

    def _steps(
        self,
        request: GenerationRequest,
        on_progress: ProgressCallback,
        live: Live | None,
        resume_folder: Path | None,
        picture: np.ndarray,
    ) -> tuple[list[LiveSettings], list[str]]:
        steps = request.settings.sampling.steps
        kept = resume_folder / STEPS_FILE if resume_folder else None
        used = _kept_steps(kept)
        for step in range(len(used), steps):
            if request.settings_by_step:
                used.append(request.settings_by_step[step])
            else:
                used.append(live(step) if live else request.settings.live)
            try:
                on_progress(
                    Progress(
                        stage="sampling",
                        done=step,
                        total=steps,
                        fraction=step / steps,
                        seconds_left=(steps - step) * self.pause_s,
                        preview=_preview(picture, step),
                    )
                )
            except StopEarly:
                return used, [f"Stopped early, after {step} of {steps} steps."]
            time.sleep(self.pause_s)
            while self._is_held(step):
                time.sleep(0.02)
            self.steps_computed.append(step)
            if kept:
                fresh = kept.with_suffix(".new")
                fresh.write_text(json.dumps([settings.model_dump() for settings in used]))
                fresh.replace(kept)
        return used, []

    def _is_held(self, step: int) -> bool:
        try:
            return self.hold is not None and step >= int(self.hold.read_text() or 0)
        except FileNotFoundError:
            return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _kept_steps(kept: Path | None) -> list[LiveSettings]:
    if kept is None or not kept.is_file():
        return []
    return [LiveSettings.model_validate(step) for step in json.loads(kept.read_text())]


def _still(request: GenerationRequest) -> tuple[np.ndarray, tuple[float, float, float, float], str | None]:
    if request.image is None:
        return np.full((96, 64, 3), 90, dtype=np.uint8), (0.3, 0.2, 0.7, 0.6), None
    view = view_portrait(request.image)
    return even_size(read_picture(request.image)), view.faces[0], view.notice


def view_portrait(path: Path) -> PortraitView:
    picture = read_picture(path)
    height, width = picture.shape[:2]
    if picture.std() < 1.0:
        raise FaceNotFound("No face found; use a picture that shows one.", "image")
    boxes = ((0.3, 0.15, 0.7, 0.6),) if width < 2 * height else ((0.1, 0.2, 0.4, 0.8), (0.65, 0.3, 0.85, 0.7))
    small = Image.fromarray(picture)
    small.thumbnail((640, 640))
    notice = TWO_FACES_NOTICE if len(boxes) > 1 else None
    lips = tuple((x0, (y0 + y1) / 2, x1, y1) for x0, y0, x1, y1 in boxes)
    return PortraitView(_encoded(small, "JPEG"), "image/jpeg", width, height, boxes, notice, lips)


def view_film(path: Path) -> FilmView:
    info = probe(path)
    still = _encoded(Image.new("RGB", (info.width_px, info.height_px), "grey"), "JPEG")
    box = (0.3, 0.15, 0.7, 0.6)
    view = PortraitView(still, "image/jpeg", info.width_px, info.height_px, (box,), None, ((0.3, 0.4, 0.7, 0.6),))
    return FilmView(view, info.num_frames / FPS, FPS)


def view_voice(path: Path) -> VoiceView:
    return VoiceView(len(read_audio(path, max_s=MAX_AUDIO_S)) / SAMPLE_RATE_HZ)


def _with_lines(picture: np.ndarray, index: int, used: list[LiveSettings]) -> np.ndarray:
    frame = picture.copy()
    column = index * 4 % frame.shape[1]
    frame[:, column : column + 8] = 255
    for step, settings in enumerate(used):
        frame[round(settings.phda.audio.low / 1000 * (len(frame) - 1)), step % frame.shape[1]] = 0
    return frame


def _preview(picture: np.ndarray, step: int) -> bytes:
    frames = [Image.fromarray(_with_lines(picture, 8 * step + index, [])).resize((160, 200)) for index in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=120, loop=0)
    return file.getvalue()


def _encoded(image: Image.Image, format_: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format_)
    return file.getvalue()


def serve(folder: Path, examples: Path, port: int, pause_s: float, *logins: str) -> None:
    """Run the real page on the small engine until killed; the arguments of `python -m` in this order.

    `logins` are NAME:PASSWORD; without any, everybody may come in.
    """
    from studio.examples import find_examples
    from studio.jobs import JobStore
    from studio.kept_logins import keep_logins
    from studio.review.desk import ReviewDesk
    from studio.service import Studio
    from studio.stubs import no_stub_files
    from studio.worker import Worker

    with no_stub_files():
        from studio.ui import build_page, launch_options

    store = JobStore(folder)
    store.recover()
    ports = SmallEngine(pause_s, folder / HOLD_FILE).ports()
    studio = Studio(ports, store, Worker(store, ports), "nano", speaker_trainer=COMMAND)
    review = ReviewDesk(studio)
    page = build_page(studio, find_examples(examples), review)
    studio.worker.start()
    review.start()
    auth = [tuple(login.split(":")) for login in logins] or None
    options = launch_options(studio, review)
    page.launch(server_name="127.0.0.1", server_port=port, auth=auth, prevent_thread_lock=True, **options)
    keep_logins(page.app, folder)
    page.block_thread()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])
