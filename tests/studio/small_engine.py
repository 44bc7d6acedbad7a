"""A small real engine for the studio's tests: no model, but real pictures, real sound and a real mp4 with progress.

A picture of one flat colour has no face; one that is twice as wide as high has two.
"""

import io
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from engine.errors import FaceNotFound
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter
from engine.progress import Progress, ProgressCallback
from engine.records import GenerationRecord
from engine.request import GenerationRequest
from studio.ports import EnginePorts, PortraitView, Readiness, VoiceView

FPS = 25
MAX_AUDIO_S = 30.0
TWO_FACES_NOTICE = "Two faces found: the larger one speaks."


class SmallEngine:
    """Lets a bar run over the portrait. `pause_s` is slept in each of the request's steps."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.seeds_done: list[int] = []

    def ports(self) -> EnginePorts:
        return EnginePorts(self.generate, view_portrait, view_voice, lambda: Readiness(ready=True))

    def generate(self, request: GenerationRequest, on_progress: ProgressCallback) -> GenerationRecord:
        view = view_portrait(request.image)
        picture = even_size(read_picture(request.image))
        wave = read_audio(request.audio, max_s=MAX_AUDIO_S)
        steps = request.settings.sampling.steps
        for step in range(steps):
            fraction = step / steps
            on_progress(
                Progress(
                    stage="sampling",
                    done=step,
                    total=steps,
                    fraction=fraction,
                    seconds_left=(steps - step) * self.pause_s,
                    preview=_preview(picture, step),
                )
            )
            time.sleep(self.pause_s)
        frames = max(1, round(len(wave) / SAMPLE_RATE_HZ * FPS))
        height, width = picture.shape[:2]
        with VideoWriter(request.out, (width, height), FPS, wave) as writer:
            for index in range(frames):
                on_progress(Progress(stage="decoding", done=index, total=frames, fraction=1.0, seconds_left=0.0))
                writer.write(_with_bar(picture, index))
        self.seeds_done.append(request.seed)
        return GenerationRecord(
            request=request,
            checkpoint_sha256="0" * 64,
            inputs_sha256={"image": "0" * 64, "audio": "0" * 64},
            face_box=view.faces[0],
            width_px=width,
            height_px=height,
            num_frames=frames,
            fps=FPS,
            notices=(view.notice,) if view.notice else (),
        )


def view_portrait(path: Path) -> PortraitView:
    picture = read_picture(path)
    height, width = picture.shape[:2]
    if picture.std() < 1.0:
        raise FaceNotFound("No face found; use a picture that shows one.", "image")
    boxes = ((0.3, 0.15, 0.7, 0.6),) if width < 2 * height else ((0.1, 0.2, 0.4, 0.8), (0.65, 0.3, 0.85, 0.7))
    small = Image.fromarray(picture)
    small.thumbnail((640, 640))
    notice = TWO_FACES_NOTICE if len(boxes) > 1 else None
    return PortraitView(_encoded(small, "JPEG"), "image/jpeg", width, height, boxes, notice)


def view_voice(path: Path) -> VoiceView:
    return VoiceView(len(read_audio(path, max_s=MAX_AUDIO_S)) / SAMPLE_RATE_HZ)


def _with_bar(picture: np.ndarray, index: int) -> np.ndarray:
    frame = picture.copy()
    column = index * 4 % frame.shape[1]
    frame[:, column : column + 8] = 255
    return frame


def _preview(picture: np.ndarray, step: int) -> bytes:
    frames = [Image.fromarray(_with_bar(picture, 8 * step + index)).resize((160, 200)) for index in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=120, loop=0)
    return file.getvalue()


def _encoded(image: Image.Image, format_: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format_)
    return file.getvalue()


def serve(folder: Path, examples: Path, port: int, pause_s: float) -> None:
    """Run the real page on the small engine until killed; the arguments of `python -m` in this order."""
    from studio.examples import find_examples
    from studio.jobs import JobStore
    from studio.service import Studio
    from studio.stubs import no_stub_files
    from studio.worker import Worker

    with no_stub_files():
        from studio.ui import build_page, launch_options

    store = JobStore(folder)
    store.recover()
    ports = SmallEngine(pause_s).ports()
    studio = Studio(ports, store, Worker(store, ports.generate), "nano")
    page = build_page(studio, find_examples(examples))
    studio.worker.start()
    page.launch(server_name="127.0.0.1", server_port=port, **launch_options(studio))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
