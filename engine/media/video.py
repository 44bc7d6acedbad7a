"""Write frames and sound as one mp4 (H.264 yuv420p + AAC), and read videos back frame by frame.

Knows nothing about models or requests: the metadata are strings to it. Frames are uint8 RGB [H, W, 3].

What is written plays everywhere and says what it is: BT.709, limited range, tagged so; sound interleaved with the
pictures and trimmed or padded to their length; the index at the front. The asked name appears only when the file is
whole: until then the data lie beside it under a hidden temporary name, which is removed if anything goes wrong.
"""

import errno
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation

from engine.contract.errors import UserError
from engine.media.audio import METADATA_ERRORS, OPEN_OPTIONS, SAMPLE_RATE_HZ
from engine.media.marking.manifest import AIGC_KEY, aigc, sign
from engine.media.marking.signer import is_marking, signing_files
from engine.media.marking.watermark import mark_luma

CRF = 16
PRESET = "veryfast"
AAC_BITS_PER_SAMPLE = 4  # transparent for speech: 64 kbit/s at 16 kHz
AAC_MAX_BIT_RATE = 160_000
UNEVEN_TIME_BASE = Fraction(1, 90_000)  # what MPEG counts uneven timestamps in
EXACT_FORMATS = ("matroska,webm", "avi")
CUT_OFF_TOLERANCE_S = 0.5
SQUARE_LIMIT = 4.0
"""Pixels that are told to be longer than this are taken for square: no camera makes them."""
HDR = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of high dynamic range, by their number in H.273."""
LIMITED_RANGE = 235 - 16  # white minus black of limited-range luma, ITU-R BT.709
HD_HEIGHT_PX = 720  # untagged video is BT.709 from here up and BT.601 below, as players take it


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` found. Sizes are of the upright picture."""

    width_px: int
    height_px: int
    fps: float
    num_frames: int
    duration_s: float
    audio_sample_rate_hz: int | None


def check_writable(path: str | Path, *, field: str = "out") -> None:
    """Raise `UserError(field)` unless an mp4 can be written at `path`. Call it before work starts."""
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise UserError(f"The output is written as mp4; give a name that ends in .mp4 instead of {path.name}.", field)
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; give the name of the file to write.", field)
        if not path.parent.is_dir():
            raise UserError(f"The output folder {path.parent} does not exist; create it or choose another.", field)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"The output name {path.name[:40]}… is too long; give a shorter one.", field) from None
        raise UserError(
            f"The output folder {path.parent} cannot be written ({error.strerror}); choose another.", field
        ) from None


class VideoWriter:
    """Context manager: `with VideoWriter(path, size) as writer: writer.write(frame)` for every frame.

    `size` is (width_px, height_px), both even. Frames come `fps` times a second, or at `times_s` where these are given,
    seconds from 0, one for every frame and one for the end of the last. `audio` is mono float32 [samples] in [-1, 1];
    it is cut or padded with silence to the length of the pictures. `metadata` are stored whole, under their own names,
    also long JSON texts.
    Leaving the block normally makes the file appear at `path`, replacing an older one; leaving it by any exception,
    cancelling included, or without a frame leaves nothing. Raises `UserError(field)` when the file cannot be written.

    The pictures are watermarked, the file labelled and signed, unless it is not `marked` (what shows nobody made up) or
    the host turned marking off; where it cannot be signed, nothing is written.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: int | Fraction = 25,
        audio: np.ndarray | None = None,
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        metadata: dict[str, str] | None = None,
        times_s: Sequence[float] | None = None,
        field: str = "out",
        marked: bool = True,
    ) -> None:
        if size[0] % 2 or size[1] % 2:
            raise ValueError(f"yuv420p needs even sides; got {size[0]} × {size[1]}, pad with even_size")
        check_writable(path, field=field)
        self.path = Path(path)
        self.frames_written = 0
        self._size, self._fps, self._audio, self._rate_hz = size, Fraction(fps), audio, sample_rate_hz
        self._metadata, self._field, self._times_s = dict(metadata or {}), field, times_s
        self._is_marked = is_marking() and marked
        if self._is_marked:
            signing_files()  # before the work, not after it
            self._metadata[AIGC_KEY] = aigc(self._metadata)
        self._samples_written = 0

    def __enter__(self) -> Self:
        with tempfile.NamedTemporaryFile(
            dir=self.path.parent, prefix=f".{self.path.stem[:40]}.", suffix=".partial", delete=False
        ) as temporary:
            self._temporary = Path(temporary.name)
        # The default mode of a temporary file is private; the finished video is an ordinary file.
        self._temporary.chmod(0o644)
        movflags = {"movflags": "faststart+use_metadata_tags"}
        self._container = av.open(str(self._temporary), "w", format="mp4", options=movflags)
        self._container.metadata.update(self._metadata)
        self._video_stream = self._add_video_stream()
        self._audio_stream = self._add_audio_stream() if self._audio is not None else None
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 RGB [H, W, 3] of the writer's size, and the sound that belongs to it."""
        if frame.shape != (self._size[1], self._size[0], 3) or frame.dtype != np.uint8:
            raise ValueError(f"expected uint8 {(self._size[1], self._size[0], 3)}; got {frame.dtype} {frame.shape}")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
        )
        if self._is_marked:
            plane = picture.planes[0]
            luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[call-overload]
            mark_luma(luma[:, : plane.width], span=LIMITED_RANGE)
        picture.pts = round(self._time_s(self.frames_written) / self._time_base)
        picture.time_base = self._time_base
        self._mux(self._video_stream.encode(picture))
        self.frames_written += 1
        if self._audio is not None:
            self._write_sound_until(round(self._time_s(self.frames_written) * self._rate_hz))

    @property
    def _time_base(self) -> Fraction:
        return 1 / self._fps if self._times_s is None else UNEVEN_TIME_BASE

    def _time_s(self, frame: int) -> Fraction:
        return frame / self._fps if self._times_s is None else Fraction(self._times_s[frame])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.frames_written:
                self._mux(self._video_stream.encode(None))
                if self._audio_stream is not None:
                    self._mux(self._audio_stream.encode(None))
                self._close()
                self._publish()
            else:
                self._close()
        finally:
            self._temporary.unlink(missing_ok=True)
        if kind is None and not self.frames_written:
            raise ValueError("no frame was written")

    def _publish(self) -> None:
        """Sign the whole file, and only then let it appear."""
        if self._is_marked:
            signed = self._temporary.with_suffix(".signed.partial")
            try:
                sign(self._temporary, signed, ".mp4", has_sound=self._audio is not None)
                signed.replace(self._temporary)
            finally:
                signed.unlink(missing_ok=True)
            self._temporary.chmod(0o644)
        self._temporary.replace(self.path)

    def _add_video_stream(self) -> av.VideoStream:
        stream = self._container.add_stream("libx264", rate=self._fps, options={"crf": str(CRF), "preset": PRESET})
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = self._time_base
        stream.codec_context.time_base = self._time_base
        context = stream.codec_context
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        return stream

    def _add_audio_stream(self) -> av.AudioStream:
        stream = self._container.add_stream("aac", rate=self._rate_hz, layout="mono")
        stream.bit_rate = min(AAC_BITS_PER_SAMPLE * self._rate_hz, AAC_MAX_BIT_RATE)
        return stream

    def _write_sound_until(self, end: int) -> None:
        assert self._audio is not None and self._audio_stream is not None
        piece = self._audio[self._samples_written : end].astype(np.float32)
        piece = np.pad(piece, (0, end - self._samples_written - len(piece)))
        frame = av.AudioFrame.from_ndarray(piece[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = self._rate_hz, self._samples_written
        frame.time_base = Fraction(1, self._rate_hz)
        self._mux(self._audio_stream.encode(frame))
        self._samples_written = end

    def _mux(self, packets: list[av.Packet]) -> None:
        try:
            self._container.mux(packets)
        except OSError as error:
            raise self._full_or_same(error) from error

    def _close(self) -> None:
        try:
            self._container.close()
        except OSError as error:
            raise self._full_or_same(error) from error

    def _full_or_same(self, error: OSError) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return UserError(f"The disk of {self.path.parent} is full; free some space or choose another.", self._field)
        return error


def read_metadata(path: str | Path, *, field: str = "video") -> dict[str, str]:
    """The strings stored by `VideoWriter(metadata=…)`, with what the container adds (`encoder`, brands)."""
    with _open(path, field) as container:
        return dict(container.metadata)


def read_video_frames(path: str | Path, *, field: str = "video") -> Iterator[np.ndarray]:
    """Every frame in display order, upright, as uint8 RGB [H, W, 3], by the file's own colour tags.

    Raises `UserError(field)` for a path that is missing, a file without pictures, and damaged data.
    """
    yield from (frame for _, frame in read_timed_frames(path, field=field))


def read_timed_frames(
    path: str | Path, *, field: str = "video", start_s: float = 0.0
) -> Iterator[tuple[float, np.ndarray]]:
    """Like `read_video_frames`, each frame with the time in seconds at which it is shown.

    Pixels that are not square are stretched to it, so that a face keeps its shape. A frame without a timestamp follows
    the one before at the film's own rate. With `start_s`, from the last key frame that is not behind it.
    """
    with _open(path, field) as container:
        stream = container.streams.video[0]
        step_s = float(1 / (stream.average_rate or stream.guessed_rate or 25))
        time_s = -step_s
        try:
            if start_s > 0 and stream.time_base:
                container.seek(int(start_s / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                time_s = float(frame.time) if frame.time is not None else time_s + step_s
                yield time_s, _upright_rgb(frame, pixel_aspect(stream))
            promised_s = _promised_s(container)
            if promised_s is not None and time_s + step_s < promised_s - CUT_OFF_TOLERANCE_S:
                raise UserError(
                    f"{Path(path).name} is truncated: {time_s + step_s:.1f} s of the {promised_s:.1f} s it should hold "
                    "are there; export or download it again.",
                    field,
                )
        except av.FFmpegError as error:
            raise UserError(
                f"{Path(path).name} is truncated or damaged ({error.strerror}); export it again.", field
            ) from error


def probe(path: str | Path, *, field: str = "video") -> VideoInfo:
    """Size, rate and length of a video, from header, first frame and packet count (not a full decode)."""
    with _open(path, field) as container:
        stream = container.streams.video[0]
        num_frames = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
        rate = container.streams.audio[0].rate if container.streams.audio else None
        fps = float(stream.average_rate or stream.guessed_rate or 0)
    first = next(read_video_frames(path, field=field), None)
    if first is None or not fps:
        raise UserError(f"{Path(path).name} holds no pictures that can be read; export it again.", field)
    return VideoInfo(first.shape[1], first.shape[0], fps, num_frames, num_frames / fps, rate)


def _open(path: str | Path, field: str) -> av.container.InputContainer:
    path = Path(path)
    if not os.path.isfile(path):  # also where the name is too long to ask for
        raise UserError(f"The video {path} does not exist; check the path.", field)
    try:
        container = av.open(str(path), options=OPEN_OPTIONS, metadata_errors=METADATA_ERRORS)
    except av.FFmpegError as error:
        raise UserError(
            f"{path.name} cannot be read as a video ({error.strerror}); use an mp4, mov, webm or mkv file.", field
        ) from error
    if not container.streams.video:
        container.close()
        raise UserError(f"{path.name} has no pictures in it, only sound; use a video.", field)
    if "mp4" in container.format.name and _is_cut_off(path):
        container.close()
        raise UserError(f"{path.name} is truncated: its end is missing; export or download it again.", field)
    container.streams.video[0].thread_type = "AUTO"
    return container


def _promised_s(container: av.container.InputContainer) -> float | None:
    """How long the pictures last by the header of a matroska, webm or avi file, whose decoder just stops early; or None
    where it does not say, or says it of the sound too."""
    if container.format.name not in EXACT_FORMATS:
        return None
    stream = container.streams.video[0]
    if told := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = (float(part) for part in told.groups())
        return 3600 * hours + 60 * minutes + seconds
    if stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    return container.duration / av.time_base if container.duration and not container.streams.audio else None


def _is_cut_off(path: Path) -> bool:
    """Whether an mp4's last box reaches beyond the file's end: the decoder would just stop early, and not say so."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while len(header := file.read(8)) == 8:
            size = int.from_bytes(header[:4], "big")
            if size == 0:  # "to the end of the file"
                return False
            start = file.tell() - 8
            if size == 1:
                size = int.from_bytes(file.read(8), "big")
            if start + size > end:
                return True
            file.seek(start + max(size, 8))
    return False


def pixel_aspect(stream: av.VideoStream) -> float:
    """Width of the stored pixels over their height; 1 where it is not told, or cannot be meant."""
    told = float(stream.sample_aspect_ratio or 1)
    return told if 1 / SQUARE_LIMIT <= told <= SQUARE_LIMIT else 1.0


def film_notices(path: str | Path, *, field: str = "video") -> list[str]:
    """What of a film's geometry and colours its owner should know before it is worked on, from its first frame."""
    notices: list[str] = []
    with _open(path, field) as container:
        stream = container.streams.video[0]
        aspect = pixel_aspect(stream)
        try:
            frame = next(container.decode(stream), None)
        except av.FFmpegError:  # said by whoever reads the film
            return notices
        if frame is None:
            return notices
        if abs(aspect - 1) > 1e-3:
            shown = f"{round(frame.width * aspect)}×{frame.height}"
            notices.append(f"The film's pixels are not square: {frame.width}×{frame.height} px are shown as {shown}.")
        if frame.color_trc in HDR:
            notices.append(
                f"The film is HDR ({HDR[frame.color_trc]}): it is taken as it is, without tone mapping, and looks pale "
                "beside a player. Export it in SDR for its own colours."
            )
        if frame.interlaced_frame:
            notices.append("The film is interlaced: its combs stay in the picture. Deinterlace it first to lose them.")
        if round(frame.rotation) % 90:
            notices.append(f"The film is tagged as turned by {frame.rotation:g}°: it is shown turned by quarters only.")
    return notices


def _upright_rgb(frame: av.VideoFrame, aspect: float) -> np.ndarray:
    colorspace = frame.colorspace
    if colorspace not in set(Colorspace):
        colorspace = Colorspace.ITU709 if frame.height >= HD_HEIGHT_PX else Colorspace.ITU601
    picture = frame.to_ndarray(
        format="rgb24",
        src_colorspace=colorspace,
        src_color_range=ColorRange.JPEG if frame.color_range == ColorRange.JPEG else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        # Without full-resolution chroma arithmetic swscale's 4:2:0 to RGB path is two grey levels too dark.
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    )
    if abs(aspect - 1) > 1e-3:
        width = max(2, round(frame.width * aspect))
        method = cv2.INTER_AREA if aspect < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(picture, (width, frame.height), interpolation=method)  # type: ignore[assignment]
    return np.ascontiguousarray(np.rot90(picture, k=round(frame.rotation / 90)))
