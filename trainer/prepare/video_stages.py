"""Stages of whole videos: probe, decode, shots; and how a video becomes clips.

Decoding goes through every picture once: it counts them at 25 per second, finds cuts (PySceneDetect) and puts the
sound, 16 kHz mono, beside the rows, moved so that it begins with the first picture. Departure from cutting by time
alone: no clip contains a cut.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import soundfile

from engine.contract.errors import UserError
from engine.contract.variants import FPS
from engine.media.audio import OPEN_OPTIONS, SAMPLE_RATE_HZ, read_audio
from engine.media.inputs import file_sha256
from engine.media.video import probe, read_timed_frames
from engine.sampling.tasks import FRAMES_PER_LATENT
from trainer.data.files import written_whole
from trainer.prepare.clip import at_constant_rate, video_path
from trainer.prepare.rows import Rejected, Row, Stage, Workshop, key_of

MAX_SOURCE_S = 4 * 3600.0
CUT_WIDTH_PX = 256
"""Cuts are looked for in pictures shrunk to this width."""
MIN_SCENE_FRAMES = 10


def _probe(row: Row, workshop: Workshop) -> Row:
    """Hash, size, rate and length, from the file's header and first picture."""
    path, settings = video_path(row, workshop), workshop.settings
    info = probe(path, field="source")
    if info.audio_sample_rate_hz is None:
        raise Rejected("no sound", "The video has no sound track.")
    if info.fps < settings.min_fps:
        raise Rejected("low frame rate", f"{info.fps:.2f} frames per second; at least {settings.min_fps:g} are wanted.")
    crop = _listed_crop(row, info.width_px, info.height_px)
    x0, y0, x1, y1 = crop or (0.0, 0.0, 1.0, 1.0)
    width, height = round((x1 - x0) * info.width_px), round((y1 - y0) * info.height_px)
    if min(width, height) < settings.min_side_px:
        raise Rejected("small picture", f"{width} × {height} px; at least {settings.min_side_px} each way are wanted.")
    return {
        "sha256": file_sha256(path),
        "width_px": width,
        "height_px": height,
        "fps": round(info.fps, 4),
        "crop": crop,
    }


def _listed_crop(row: Row, width_px: int, height_px: int) -> list[float] | None:
    """The list's crop as fractions of this file, which may be of another size than the one that was annotated."""
    if "crop_px" not in row:
        return None
    scale = height_px / row["crop_of_height_px"]
    x, y, width, height = (edge * scale for edge in row["crop_px"])
    edges = x / width_px, y / height_px, (x + width) / width_px, (y + height) / height_px
    return [min(1.0, max(0.0, edge)) for edge in edges]


def _decode(row: Row, workshop: Workshop) -> Row:
    """Frames at 25 per second, the first frames of new scenes, and the sound."""
    path = video_path(row, workshop)
    first_s: float | None = None

    def timed():
        nonlocal first_s
        for time_s, frame in read_timed_frames(path, field="source"):
            first_s = time_s if first_s is None else first_s
            yield time_s - first_s, frame

    cuts, frames = _find_cuts(at_constant_rate(timed(), 0.0))
    wave = read_audio(path, field="source", max_s=MAX_SOURCE_S)
    delay = round((_sound_start_s(path) - (first_s or 0.0)) * SAMPLE_RATE_HZ)
    wave = np.pad(wave, (delay, 0)) if delay > 0 else wave[-delay:]
    voice = workshop.file("voices", row["key"], ".flac")
    with written_whole(voice) as partial:
        soundfile.write(partial, wave, SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
    frames = min(frames, len(wave) * FPS // SAMPLE_RATE_HZ)
    return {
        "picture_start_s": first_s or 0.0,
        "video_frames": frames,
        "cut_frames": [cut for cut in cuts if cut < frames],
        "voice_file": str(voice.relative_to(workshop.folder)),
    }


def _find_cuts(frames: Any) -> tuple[list[int], int]:
    """The first frame of every scene but the first, and the number of frames."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector

    detector = ContentDetector(min_scene_len=MIN_SCENE_FRAMES)
    found: list[FrameTimecode] = []
    count = 0
    for count, frame in enumerate(frames, start=1):
        scale = min(1.0, CUT_WIDTH_PX / frame.shape[1])
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found += detector.process_frame(FrameTimecode(count - 1, float(FPS)), np.ascontiguousarray(small[:, :, ::-1]))
    if count:
        found += detector.post_process(FrameTimecode(count - 1, float(FPS)))
    return sorted({cut.frame_num for cut in found}), count


def _sound_start_s(path: Path) -> float:
    """When the first sample is heard, on the clock of the file."""
    try:
        with av.open(str(path), options=OPEN_OPTIONS) as container:
            first = next(container.decode(container.streams.audio[0]), None)
    except av.FFmpegError as error:
        raise UserError(f"{path.name}: its sound is damaged ({error.strerror}); export it again.", "source") from error
    return float(first.time) if first is not None and first.time is not None else 0.0


def _shots(row: Row, workshop: Workshop) -> Row:
    """What clips may be cut from, [start, end) in frames at 25 per second: the list's moment, between cuts."""
    begin, end = (round(time_s * FPS) for time_s in row.get("span_s", [0.0, row["video_frames"] / FPS]))
    end = min(end, row["video_frames"])
    if end <= begin:
        raise Rejected("outside the video", f"The listed moment begins at frame {begin} of {row['video_frames']}.")
    cuts = [cut for cut in row["cut_frames"] if begin < cut < end]
    if cuts and workshop.settings.cuts == "drop":
        raise Rejected("cut", f"A cut at frame {cuts[0]} ({cuts[0] / FPS:.2f} s).")
    return {"shots": [list(shot) for shot in pairwise([begin, *cuts, end])]}


VIDEO_STAGES = (
    Stage("probe", 1, _probe, ("min_fps", "min_side_px")),
    Stage("decode", 1, _decode),
    Stage("shots", 1, _shots, ("cuts",)),
)
_OF_A_VIDEO_ONLY = ("shots", "cut_frames", "video_frames", "span_s", "crop_px", "crop_of_height_px")


def clips_of(video: Row, clip_frames: int, min_frames: int) -> list[Row]:
    """The clips of an accepted video, rows to begin with: its shots in pieces of `clip_frames`, rests of 4n + 1 frames.

    A rest below `min_frames` is a clip, too, so that the report counts it; a stage rejects it. Where a shot is not a
    whole number of clips, what is left is its last, shorter clip.
    """
    kept = {name: value for name, value in video.items() if name not in _OF_A_VIDEO_ONLY}
    clips = []
    for begin, end in video["shots"]:
        for start in range(begin, end, clip_frames):
            frames = min(clip_frames, end - start)
            if frames >= min_frames:
                frames -= (frames - 1) % FRAMES_PER_LATENT
            identity = f"{video['id']}#{start:06d}"
            base = {name: kept[name] for name in kept if name not in ("status", "stage", "reason", "detail")}
            clips.append(
                base
                | {
                    "id": identity,
                    "key": key_of(identity),
                    "file": video.get("file", video["id"]),
                    "start_frame": start,
                    "frames": frames,
                }
            )
    return clips
