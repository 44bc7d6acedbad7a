"""Everything the proof measures on one portrait with one speech clip, from the finished videos.

Judges files, as a user would get them: nothing is taken from inside the engine but where a drawing may move.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.contract.errors import UserError
from engine.contract.variants import FPS
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from engine.media.face import find_face, track_face
from engine.media.person import person_matte
from engine.media.picture import even_size, read_picture
from engine.media.video import probe, read_video_frames
from engine.nano.face_warp import FaceWarp
from goals.nano.rows import ClipMeasurement, silence_opening
from trainer.metrics.contact_sheet import ContactSheet
from trainer.metrics.fidelity import BoxPx, Picture, luma, luma_psnr_db, sharpness
from trainer.metrics.lip_metrics import lip_metrics
from trainer.metrics.mouth import aperture_track, apertures, inner_lip_aperture
from trainer.metrics.mouth_light import mouth_inside, over
from trainer.metrics.speech_tracks import voiced_frames

SILENCE_S = 2.0
REST_S = 1.5
"""The end of the silence, over which the lips should rest: the first half second is theirs to close."""

SWAY = 0.25
"""How far a person comes out of their own outline in a video, in heights of the face."""


@dataclass(frozen=True)
class Portrait:
    """A picture of the examples, as the video shows it: even-sized."""

    path: Path

    @cached_property
    def picture(self) -> Picture:
        """uint8 RGB [H, W, 3]."""
        return even_size(read_picture(self.path))

    @cached_property
    def landmarks_px(self) -> NDArray[np.floating]:
        """FaceMesh on the still picture: [468, 3]."""
        return find_face(read_picture(self.path))[0].landmarks_px

    @cached_property
    def face_box_px(self) -> BoxPx:
        """The box of all landmarks."""
        height, width = self.picture.shape[:2]
        x0, y0 = np.maximum(np.floor(self.landmarks_px[:, :2].min(axis=0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(self.landmarks_px[:, :2].max(axis=0)).astype(int), (width, height))
        return int(x0), int(y0), int(x1), int(y1)

    @cached_property
    def background(self) -> NDArray[np.bool_]:
        """The pixels that no part of a person comes near, which every frame leaves as they are: [H, W].

        Where no person is told from the picture, a drawing's, these are the pixels outside the outermost falloff ring.
        """
        matte = person_matte(self.picture, self.landmarks_px)
        if matte is None:
            x0, y0, x1, y1 = FaceWarp(self.picture, self.landmarks_px).falloff_box_px
            outside = np.ones(self.picture.shape[:2], dtype=bool)
            outside[y0:y1, x0:x1] = False
            return outside
        y0, y1 = self.face_box_px[1::2]
        return np.asarray(cv2.distanceTransform((matte == 0).astype(np.uint8), cv2.DIST_L2, 5) > SWAY * (y1 - y0))


@dataclass
class FrameJudge:
    """Looks at every frame on its way to the face tracker, so that a video is decoded once and never held whole."""

    portrait: Portrait
    sheet: ContactSheet
    psnr_db: list[float] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    shown: Picture = field(init=False)
    """The latest frame."""

    def watch(self, frames: Iterator[Picture]) -> Iterator[Picture]:
        """The same frames; PSNR, sharpness over the portrait's, and the contact sheet's pictures are kept."""
        box_px = self.portrait.face_box_px
        still = luma(self.portrait.picture)
        still_sharpness = sharpness(still, box_px)
        for index, frame in enumerate(frames):
            self.shown = frame
            shown = luma(frame)
            self.psnr_db.append(luma_psnr_db(shown, still, self.portrait.background))
            self.sharpness.append(sharpness(shown, box_px) / still_sharpness)
            self.sheet.add(index, frame)
            yield frame


@dataclass(frozen=True)
class ClipJob:
    """One portrait with one speech clip: its seed and the files it makes."""

    portrait: Portrait
    speech: Path
    english: bool
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Portrait and speech."""
        return f"{self.portrait.path.stem}__{self.speech.stem}"

    @property
    def video(self) -> Path:
        """The portrait speaking the clip."""
        return self.folder / f"{self.name}.mp4"

    @property
    def video_with_silence(self) -> Path:
        """The same with 2 s of silence after it."""
        return self.folder / f"{self.name}__silence.mp4"

    @property
    def contact_sheet(self) -> Path:
        """Faces of the video."""
        return self.folder / f"{self.name}.png"


def check_files(job: ClipJob) -> ClipMeasurement:
    """What the video file itself says: its length and its sound's. Raises UserError where it cannot be decoded."""
    return ClipMeasurement(
        portrait=job.portrait.path.stem,
        speech=job.speech.stem,
        seed=job.seed,
        audio_frames=audio_frames(read_audio(job.speech)),
        video_frames=sum(1 for _ in read_video_frames(job.video)),
        sound_frames=audio_frames(read_audio(job.video, field="video")),
    )


def measure_clip(job: ClipJob) -> ClipMeasurement:
    """Measure both videos of `job` and write its contact sheet.

    What fails on the way stands in `error`, and the fields behind it stay None.
    """
    measured = ClipMeasurement(job.portrait.path.stem, job.speech.stem, job.seed, audio_frames(read_audio(job.speech)))
    try:
        measured = check_files(job)
        measured = replace(measured, **_look(job))
        return replace(measured, silence_opening=_rest(job))
    except UserError as error:
        return replace(measured, error=error.message)


def _look(job: ClipJob) -> dict[str, Any]:
    sheet = ContactSheet(probe(job.video).num_frames, job.portrait.face_box_px)
    judge = FrameJudge(job.portrait, sheet)
    faces, insides = [], []
    for face in track_face(judge.watch(read_video_frames(job.video))):  # one face a frame, before the next is read
        faces.append(face)
        insides.append(mouth_inside(judge.shown, face))
    aperture = apertures(faces)
    sheet.write(job.contact_sheet, aperture)
    mesh_lip_r, viseme_r = lip_metrics(aperture, read_audio(job.video, field="video"), job.english)
    return {
        "mesh_lip_r": mesh_lip_r,
        "viseme_r": viseme_r,
        "coverage": float(np.isfinite(aperture).mean()),
        "rest_aperture": inner_lip_aperture(job.portrait.landmarks_px),
        "inside": over(insides),
        "psnr_db": min(judge.psnr_db),
        "sharpness": float(np.median(judge.sharpness)),
        "worst_sharpness": min(judge.sharpness),
    }


def _rest(job: ClipJob) -> float:
    aperture = aperture_track(read_video_frames(job.video_with_silence))
    speech = voiced_frames(read_audio(job.speech))[: len(aperture)]
    voiced = np.pad(speech, (0, len(aperture) - len(speech)))
    return silence_opening(aperture, voiced, last_frames=round(REST_S * FPS))


def audio_frames(audio: NDArray[np.float32]) -> int:
    """Length of a sound in video frames, rounded."""
    return round(len(audio) / SAMPLE_RATE_HZ * FPS)


def with_silence(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sound followed by 2 s of digital silence."""
    return np.concatenate([audio, np.zeros(round(SILENCE_S * SAMPLE_RATE_HZ), dtype=np.float32)])
