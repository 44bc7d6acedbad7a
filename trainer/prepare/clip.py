"""Read a clip out of its video: 25 frames per second whatever the file's own rate, 16 kHz mono, cropped.

A clip is `start_frame` and `frames` on a grid of 25 frames per second that begins with the video's first picture. The
frame of a grid point is the one shown in its middle. Nothing is encoded again. Knows nothing about stages.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from engine.contract.errors import UserError
from engine.contract.variants import FPS
from engine.media.audio import SAMPLE_RATE_HZ
from engine.media.video import read_timed_frames
from trainer.prepare.rows import Row, Workshop

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS


def video_path(row: Row, workshop: Workshop) -> Path:
    """The file that a row's pictures are in."""
    return workshop.source / str(row.get("file", row["id"]))


def at_constant_rate(timed: Iterable[tuple[float, np.ndarray]], start_s: float) -> Iterator[np.ndarray]:
    """Frames shown at `start_s` + 0.02, 0.06, 0.10 … s out of frames with their times, until those end.

    The last frame is taken to be shown for as long as the one before it.
    """
    grid = 0
    shown: tuple[float, np.ndarray] | None = None
    duration_s = 0.0
    for time_s, frame in timed:
        if shown is not None:
            duration_s = time_s - shown[0]
            while start_s + (grid + 0.5) / FPS < time_s - 1e-6:
                yield shown[1]
                grid += 1
        shown = time_s, frame
    while shown is not None and start_s + (grid + 0.5) / FPS < shown[0] + duration_s - 1e-6:
        yield shown[1]
        grid += 1


def clip_frames(row: Row, workshop: Workshop) -> Iterator[np.ndarray]:
    """The frames of a clip, uint8 RGB [H, W, 3], exactly `frames` of them, cut to `crop` if it has one.

    Raises UserError where the file does not give as many.
    """
    start_s = row["picture_start_s"] + row["start_frame"] / FPS
    timed = read_timed_frames(video_path(row, workshop), start_s=start_s)
    produced = 0
    for frame in at_constant_rate(timed, start_s):
        yield cropped(frame, row.get("crop"))
        produced += 1
        if produced == row["frames"]:
            return
    raise UserError(
        f"{row['id']}: only {produced} of {row['frames']} frames are found from {start_s:.2f} s on; the file's index "
        "is wrong, so write it anew (remux it).",
        "source",
    )


def clip_voice(row: Row, workshop: Workshop) -> np.ndarray:
    """The sound of a clip, float32 [640 · frames]."""
    start = row["start_frame"] * SAMPLES_PER_FRAME
    wanted = row["frames"] * SAMPLES_PER_FRAME
    wave, _ = soundfile.read(workshop.folder / row["voice_file"], wanted, start, dtype="float32")
    return np.pad(wave, (0, wanted - len(wave)))


def cropped(frame: np.ndarray, crop: list[float] | None) -> np.ndarray:
    """`frame` within `crop`, fractions xyxy; the whole of it without one."""
    if crop is None:
        return frame
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = crop
    return np.ascontiguousarray(frame[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)])
