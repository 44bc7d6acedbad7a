"""Read the sound of any common audio or video file as mono float32 at one sample rate, or say why it cannot be used.

Knows nothing about speech, features or models. A wave is a float32 array [samples] in [-1, 1].

Two decisions worth knowing. Channels become mono as the mean of those that carry sound, each turned to the phase of the
loudest: neither a silent channel nor one in antiphase takes speech away, and a mean cannot clip. A wave whose peak lies
above 1, as lossy decoders and float recordings have, is scaled down as a whole, never clipped; above `TOLD_PEAK` that
is told.

Samples are decoded packed, channel by channel in one plane: a frame's planes beyond the eighth cannot be read safely.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soxr

from engine.contract.errors import UserError
from engine.media.picture import is_picture

SAMPLE_RATE_HZ = 16_000
MIN_S = 0.2
MAX_S = 600.0
TOLD_PEAK = 1.1
AUDIBLE_SHARE = 1e-4
"""Of the loudest channel's power (−40 dB): a channel below it carries no sound of its own."""
SILENCE_RMS = 1e-3  # -60 dBFS: below the room noise of a quiet recording
# Whitelists: playlist formats could make the reader open other files or addresses named inside an uploaded one.
DEMUXERS = "wav,w64,mp3,flac,ogg,aac,aiff,au,caf,amr,asf,avi,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts"
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
METADATA_ERRORS = "replace"
"""Titles and comments come in any encoding; a letter that cannot be read must not keep the sound from being heard."""
FORMATS_FOR_PEOPLE = "wav, mp3, m4a, flac, ogg or mp4"
# Containers that store the exact length of a track, so that a shorter one is known to be cut off.
EXACT_DURATION = {"wav", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "aiff", "w64", "caf", "au"}
DURATION_TOLERANCE_S = 0.1
WAV_STREAMED_BYTES = 0x7FFF_0000  # programs that write to a pipe put a size from here up, or 0, for "unknown"
WAV_TOLERANCE_BYTES = 1024
WAV_CHUNKS = 1000
"""So many chunks are looked through for the sound's; a file with more is left to the decoder."""


def read_audio(
    path: str | Path,
    *,
    field: str = "audio",
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    min_s: float = MIN_S,
    max_s: float = MAX_S,
    notices: list[str] | None = None,
) -> np.ndarray:
    """The first sound track as float32 mono [samples] in [-1, 1] at `sample_rate_hz`.

    What was done to it that its owner should know is added to `notices`.

    Raises `UserError(field)` for a path that is missing, a file without sound, a picture, a truncated or damaged file
    (a decoding error, or less sound than the header promises), NaN or infinite samples, and a length below `min_s` or
    above `max_s`; the upper limit is checked on the header before decoding, and again while decoding.
    """
    path = Path(path)
    if not os.path.exists(path):  # also where the name is too long to ask for
        raise UserError(f"The audio {path} does not exist; check the path.", field)
    if not path.is_file():
        raise UserError(
            f"{path} is a folder or a device, not a sound; give the path of a {FORMATS_FOR_PEOPLE} file.", field
        )
    if path.stat().st_size == 0:
        raise UserError(f"{path.name} is an empty file; record or export it again.", field)
    if not os.access(path, os.R_OK):
        raise UserError(f"{path} may not be read; change its permissions or copy it elsewhere.", field)
    if missing := _missing_wav_bytes(path):
        raise UserError(
            f"{path.name} is truncated: its last {missing} bytes of sound are missing; export or download it again.",
            field,
        )
    wave, rate_hz = _decode(path, field, max_s)
    duration_s = len(wave) / rate_hz
    if duration_s < min_s:
        raise UserError(f"{path.name} holds {duration_s:.2f} s of sound; at least {min_s:g} s is needed.", field)
    if not np.isfinite(wave).all():
        raise UserError(f"{path.name} contains samples that are not numbers (NaN or infinite); export it again.", field)
    peak = float(np.abs(wave).max())
    if peak > TOLD_PEAK:
        wave = wave / peak
        if notices is not None:
            notices.append(f"{path.name} is louder than full scale (peak {peak:.4g}): all of it was made quieter.")
    wave = soxr.resample(wave, rate_hz, sample_rate_hz, quality="VHQ")
    return np.ascontiguousarray(wave / max(1.0, float(np.abs(wave).max())), dtype=np.float32)


def is_silent(wave: np.ndarray, sample_rate_hz: int = SAMPLE_RATE_HZ) -> bool:
    """Whether no stretch of one video frame (40 ms) is louder than -60 dBFS RMS."""
    hop = sample_rate_hz // 25
    padded = np.pad(wave.astype(np.float64), (0, -len(wave) % hop)).reshape(-1, hop)
    return bool(np.sqrt((padded**2).mean(axis=1)).max(initial=0.0) < SILENCE_RMS)


def _decode(path: Path, field: str, max_s: float) -> tuple[np.ndarray, int]:
    """Mono wave at the file's own sample rate, and that rate."""
    try:
        weights = _channel_weights(path, field, max_s)
        with av.open(str(path), options=OPEN_OPTIONS, metadata_errors=METADATA_ERRORS) as container:
            stream = container.streams.audio[0]
            promised_s = _promised_s(stream)
            parts, samples = [], 0
            for channels in _channels(container, stream, path, field, max_s):
                parts.append((channels @ weights).astype(np.float32))
                samples += len(channels)
            exact = container.format.name in EXACT_DURATION
            if exact and promised_s is not None and samples / stream.rate < promised_s - DURATION_TOLERANCE_S:
                raise UserError(
                    f"{path.name} is truncated: {samples / stream.rate:.2f} s of the {promised_s:.2f} s it should "
                    "hold are there; export or download it again.",
                    field,
                )
            wave = np.concatenate(parts) if parts else np.zeros(0, np.float32)
            # Codecs fill their last block; a container that knows the length says where the sound ends.
            return wave[: round(promised_s * stream.rate)] if exact and promised_s is not None else wave, stream.rate
    except (av.FFmpegError, ValueError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        if is_picture(path):
            raise UserError(f"{path.name} is a picture, not a sound; use a {FORMATS_FOR_PEOPLE} file.", field) from None
        raise UserError(
            f"{path.name} cannot be read as sound, or is damaged ({_reason(error)}); "
            f"use a {FORMATS_FOR_PEOPLE} file that plays to its end.",
            field,
        ) from error


def _channel_weights(path: Path, field: str, max_s: float) -> np.ndarray:
    """What each channel counts in the mono wave, float32 [channels]; the sound is decoded once for it, if there are
    several."""
    with av.open(str(path), options=OPEN_OPTIONS, metadata_errors=METADATA_ERRORS) as container:
        if not container.streams.audio:
            raise UserError(f"{path.name} has no sound track; use a {FORMATS_FOR_PEOPLE} file with sound.", field)
        stream = container.streams.audio[0]
        promised_s = _promised_s(stream)
        if promised_s is not None:
            _check_length(path, promised_s, field, max_s)
        if stream.channels == 1:
            return np.ones(1, np.float32)
        together = np.zeros((stream.channels, stream.channels))
        for channels in _channels(container, stream, path, field, max_s):
            known = np.nan_to_num(channels.astype(np.float64), posinf=0.0, neginf=0.0)
            together += known.T @ known
    power = np.diag(together)
    loudest = int(np.argmax(power))
    audible = power >= AUDIBLE_SHARE * power[loudest]
    phase = np.where(together[loudest] < 0, -1.0, 1.0)
    return (phase * audible / audible.sum()).astype(np.float32)


def _channels(
    container: av.container.InputContainer, stream: av.AudioStream, path: Path, field: str, max_s: float
) -> Iterator[np.ndarray]:
    """The stream's samples as they come, float32 [samples, channels]; no more than `max_s` of them."""
    to_packed_float = av.AudioResampler(format="flt")
    samples = 0
    for frame in container.decode(stream):
        for packed in to_packed_float.resample(frame):
            samples += packed.samples
            yield packed.to_ndarray().reshape(-1, packed.layout.nb_channels)
        _check_length(path, samples / stream.rate, field, max_s)


def _promised_s(stream: av.AudioStream) -> float | None:
    """How long the header says that the sound lasts."""
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None


def _missing_wav_bytes(path: Path) -> int:
    """How many bytes a RIFF wav's data chunk promises beyond the file's end, which decoders pass over in silence."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return 0
        file.seek(12)
        for _ in range(WAV_CHUNKS):
            if len(header := file.read(8)) < 8:
                return 0
            size = int.from_bytes(header[4:], "little")
            if header[:4] == b"data":
                missing = file.tell() + size - path.stat().st_size
                return missing if missing > WAV_TOLERANCE_BYTES and size < WAV_STREAMED_BYTES else 0
            file.seek(size + size % 2, 1)
    return 0


def _check_length(path: Path, duration_s: float, field: str, max_s: float) -> None:
    if duration_s > max_s:
        raise UserError(
            f"{path.name} is {duration_s:.0f} s or more of sound; at most {max_s:.0f} s is accepted, cut it.", field
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
