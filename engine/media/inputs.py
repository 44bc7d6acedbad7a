"""The files of a request, read and checked before any model is loaded: pictures, faces, film and voice.

Torch-free. Knows nothing about models beyond the variant's limits; every bad file is a `UserError` from `engine.media`.
"""

import hashlib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from engine.contract.errors import UserError
from engine.contract.request import INPUT_FIELDS, Box, GenerationRequest
from engine.contract.settings import LipSyncSettings
from engine.contract.variants import FPS, find_variant
from engine.media.audio import SAMPLE_RATE_HZ, is_silent, read_audio
from engine.media.covered import covered_mouth_notice
from engine.media.face import Face, face_box, face_in, find_face, find_faces, same_person
from engine.media.film import Film, FilmPlan, plan_film, read_film, still_film
from engine.media.picture import even_size, picture_notices, read_picture, within
from engine.media.video import check_writable

SOUNDTRACK_RATE_HZ = 48_000
SILENCE_NOTICE = "The audio is silent: the lips stay closed and the face only blinks and moves a little."


@dataclass(frozen=True)
class Portrait:
    """A picture, uint8 RGB of even size, and the face in it that will speak."""

    picture: np.ndarray
    face: Face


@dataclass(frozen=True)
class Inputs:
    """What a request's files hold."""

    wave: np.ndarray
    """The voice as the model hears it, float32 mono at 16 kHz."""
    soundtrack: np.ndarray
    """The voice as the video carries it, float32 mono at SOUNDTRACK_RATE_HZ."""
    num_frames: int
    """Video frames to be generated, at 25 per second."""
    portrait: Portrait | None = None
    """The reference; a film's is its first frame that shows a face. None for text-to-video."""
    last: Portrait | None = None
    """What first-last-frame ends on."""
    film: Film | None = None
    plan: FilmPlan | None = None
    """For lip-sync: the film, and which frame of it is shown when."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Of every file that was read, by the request's field."""
    notices: tuple[str, ...] = ()

    @property
    def output_frames(self) -> int:
        """Frames of the video: those generated, or for lip-sync those of the film."""
        return len(self.plan.indices) if self.plan else self.num_frames

    @property
    def times_s(self) -> list[float] | None:
        """When each frame of the video is shown, and when the last one ends; None for 25 per second."""
        return None if self.plan is None else [*self.plan.times_s.tolist(), self.plan.duration_s]


def read_inputs(request: GenerationRequest) -> Inputs:
    """Read and check the files of `request`, and that its output can be written. Raises UserError, names the field."""
    check_writable(request.out)
    _check_not_an_input(request)
    for name in ("lora", "redo_latents"):
        _check_is_a_file(getattr(request, name), name)
    max_s = find_variant(request.model).max_audio_s
    longest = request.settings.longest_side_px
    notices: list[str] = []
    wave = read_audio(request.audio, max_s=max_s, notices=notices)
    notices += [SILENCE_NOTICE] if is_silent(wave) else []
    voice_s = len(wave) / SAMPLE_RATE_HZ
    portrait = last = film = plan = None
    num_frames = max(1, round(voice_s * FPS))
    if request.image is not None:
        portrait = _portrait(request.image, request.face_box, "image", notices, longest)
    if request.last_image is not None and portrait is not None:
        last = _last(request.last_image, portrait, notices, longest)
        num_frames = max(num_frames, 2)
    if request.task == "lip-sync":
        if request.video is not None:
            film, said = read_film(request.video, max_s=max_s, face_box=request.face_box)
            notices += said
            portrait = _first_of(film)
            covered = covered_mouth_notice(portrait.picture, portrait.face.landmarks_px)
            notices += [covered] if covered else []
        else:
            assert portrait is not None
            film = still_film(portrait.picture, portrait.face.landmarks_px, voice_s)
        plan = plan_film(film, voice_s, request.settings.lip_sync)
        num_frames = max(1, math.ceil(plan.duration_s * FPS - 1e-6))
        notices += _length_notices(film, plan, voice_s, request.settings.lip_sync)
    return Inputs(
        wave=wave,
        soundtrack=read_audio(request.audio, sample_rate_hz=SOUNDTRACK_RATE_HZ, max_s=max_s),
        num_frames=num_frames,
        portrait=portrait,
        last=last,
        film=film,
        plan=plan,
        sha256={name: file_sha256(path) for name in INPUT_FIELDS if (path := getattr(request, name)) is not None},
        notices=tuple(notices),
    )


def _portrait(path: Path, box: Box | None, name: str, notices: list[str], longest: int) -> Portrait:
    """The picture at `path`, at most `longest` px a side, and its face: the largest, or the one that `box` is round."""
    picture = read_picture(path, field=name)
    notices += picture_notices(path)
    given, picture = picture, within(picture, longest)
    if picture is not given:
        sizes = [f"{shape[1]}×{shape[0]}" for shape in (given.shape, picture.shape)]
        notices.append(
            f"The picture's {sizes[0]} px are drawn at {sizes[1]}: the longest side is {longest} px, unless you ask "
            "for more."
        )
    if box is None:
        face, said = find_face(picture, field=name)
        notices += [said] if said else []
    else:
        face = _chosen(find_faces(picture, field=name), box, picture.shape)
    covered = covered_mouth_notice(picture, face.landmarks_px)
    notices += [covered] if covered else []
    even = even_size(picture)
    if even.shape != picture.shape:
        (height, width), (even_height, even_width) = picture.shape[:2], even.shape[:2]
        notices.append(
            f"The picture's {width}×{height} px became {even_width}×{even_height}, its last row or column repeated: "
            "video needs even sides."
        )
    return Portrait(even, face)


def _chosen(faces: list[Face], box: Box, shape: tuple[int, ...]) -> Face:
    """The face whose middle lies in `box`, with that box. Raises UserError where there is none."""
    face = face_in(faces, box, shape)
    if face is not None:
        return Face(face.landmarks_px, box)
    raise UserError(
        f"No face has its middle in the box {','.join(f'{edge:g}' for edge in box)} ({len(faces)} found elsewhere); "
        "draw it round a face, or leave it out.",
        "face_box",
    )


def _last(path: Path, first: Portrait, notices: list[str], longest: int) -> Portrait:
    """The picture at `path` in the size of the first one: cropped to its shape round the face, and scaled."""
    last = _portrait(path, None, "last_image", notices, longest)
    (height, width), (other_height, other_width) = first.picture.shape[:2], last.picture.shape[:2]
    if (height, width) != (other_height, other_width):
        last = _fitted(last, first)
        notices.append(
            f"The last picture's {other_width}×{other_height} px were cropped round the face and scaled to the first "
            f"one's {width}×{height}."
        )
    if not same_person(first.face.landmarks_px, last.face.landmarks_px):
        notices.append("The two pictures may show different people: if so, the end is a morph from one to the other.")
    return last


def _fitted(last: Portrait, first: Portrait) -> Portrait:
    """`last` in the size of `first`: the largest piece of that shape, with the face as near as it goes to where it is
    in `first`."""
    (height, width), (own_height, own_width) = first.picture.shape[:2], last.picture.shape[:2]
    scale = min(own_width / width, own_height / height)
    crop_width, crop_height = round(width * scale), round(height * scale)
    wanted = first.face.landmarks_px[:, :2].mean(axis=0) / [width, height] * [crop_width, crop_height]
    x, y = np.round(last.face.landmarks_px[:, :2].mean(axis=0) - wanted).astype(int)
    x, y = int(np.clip(x, 0, own_width - crop_width)), int(np.clip(y, 0, own_height - crop_height))
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    picture = cv2.resize(last.picture[y : y + crop_height, x : x + crop_width], (width, height), interpolation=method)
    factor = np.array([width / crop_width, height / crop_height, width / crop_width], np.float32)
    landmarks_px = ((last.face.landmarks_px - np.array([x, y, 0], np.float32)) * factor).astype(np.float32)
    return Portrait(picture, Face(landmarks_px, face_box(landmarks_px, picture.shape)))


def _first_of(film: Film) -> Portrait:
    index = film.first_face
    landmarks_px = film.landmarks_px[index]
    assert landmarks_px is not None
    picture = next(film.frames([index]))
    face = Face(landmarks_px, face_box(landmarks_px, picture.shape))
    return Portrait(even_size(picture), face)


def _length_notices(film: Film, plan: FilmPlan, voice_s: float, settings: LipSyncSettings) -> list[str]:
    if film.path is None or abs(voice_s - film.duration_s) <= film.frame_s:
        return []
    how = (
        {"hold": "its last frame stays", "loop": "it swings to and fro"}[settings.audio_longer]
        if voice_s > film.duration_s
        else {"rest": "it goes on with the mouth at rest", "cut": "it ends with the voice"}[settings.audio_shorter]
    )
    return [
        f"The voice lasts {voice_s:.1f} s, the film {film.duration_s:.1f} s: {how}; the video lasts "
        f"{plan.duration_s:.1f} s."
    ]


def _check_not_an_input(request: GenerationRequest) -> None:
    """The video appears under its name by replacing what was there: never the user's own picture, film or sound."""
    for path in (getattr(request, name) for name in INPUT_FIELDS):
        if path is not None and os.path.exists(path) and os.path.exists(request.out) and request.out.samefile(path):
            raise UserError(f"The video would replace {path}, which it is made from; give another output name.", "out")


def _check_is_a_file(path: Path | None, name: str) -> None:
    if path is not None and not os.path.isfile(path):
        raise UserError(f"The file {path} does not exist; check the path.", name)


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
