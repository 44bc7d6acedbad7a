"""The files of a request, read and checked before any model is loaded: picture, face and voice.

Torch-free. Knows nothing about models beyond the variant's limits; every bad file is a `UserError` from `engine.media`.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import UserError
from engine.media.audio import SAMPLE_RATE_HZ, is_silent, read_audio
from engine.media.face import Face, find_face
from engine.media.picture import even_size, read_picture
from engine.media.video import check_writable
from engine.request import GenerationRequest
from engine.variants import FPS, find_variant

SOUNDTRACK_RATE_HZ = 48_000
SILENCE_NOTICE = "The audio is silent: the lips stay closed and the face only blinks and moves a little."


@dataclass(frozen=True)
class Inputs:
    """What a request's files hold. `picture` is uint8 RGB of even size, `wave` mono at 16 kHz."""

    picture: np.ndarray
    face: Face
    wave: np.ndarray
    """The voice as the model hears it, float32 mono at 16 kHz."""
    soundtrack: np.ndarray
    """The voice as the video carries it, float32 mono at SOUNDTRACK_RATE_HZ."""
    num_frames: int
    """Video frames as long as the sound, at 25 per second."""
    sha256: dict[str, str]
    """Of every file that was read, by the request's field."""
    notices: tuple[str, ...]


def read_inputs(request: GenerationRequest) -> Inputs:
    """Read and check the files of `request`, and that its output can be written. Raises UserError, names the field."""
    check_writable(request.out)
    _check_not_an_input(request)
    variant = find_variant(request.model)
    assert request.image is not None
    picture = read_picture(request.image)
    wave = read_audio(request.audio, max_s=variant.max_audio_s)
    face, face_notice = find_face(picture)
    even = even_size(picture)
    notices = [face_notice] if face_notice else []
    if even.shape != picture.shape:
        (height, width), (even_height, even_width) = picture.shape[:2], even.shape[:2]
        notices.append(
            f"The picture's {width}×{height} px became {even_width}×{even_height}, its last row or column repeated: "
            "video needs even sides."
        )
    if is_silent(wave):
        notices.append(SILENCE_NOTICE)
    return Inputs(
        picture=even,
        face=face,
        wave=wave,
        soundtrack=read_audio(request.audio, sample_rate_hz=SOUNDTRACK_RATE_HZ, max_s=variant.max_audio_s),
        num_frames=max(1, round(len(wave) / SAMPLE_RATE_HZ * FPS)),
        sha256={"image": file_sha256(request.image), "audio": file_sha256(request.audio)},
        notices=tuple(notices),
    )


def _check_not_an_input(request: GenerationRequest) -> None:
    """The video appears under its name by replacing what was there: never the user's own picture or sound."""
    for path in (request.image, request.audio):
        if path is not None and os.path.exists(path) and os.path.exists(request.out) and request.out.samefile(path):
            raise UserError(f"The video would replace {path}, which it is made from; give another output name.", "out")


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
