"""Stages of clips: length, speech, faces with their lip boxes, light and sharpness, lips against sound.

Cheap ones stand before dear ones; `faces` is the one pass that measures all that needs every frame. Overlays
(`trainer.prepare.overlays`) are read before faces are tracked, because a crop changes where things are. Faces leave an
.npz beside the rows: `landmarks_px` [F, 468, 3] in the cropped picture, `lip_boxes` [F, 4] and `face_box` [4] in
fractions xyxy of it; frames without a face have their neighbours' values.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from engine.contract.errors import UserError
from engine.media.drift import sharpness
from engine.media.face import detect_faces, face_box, track_face
from engine.media.film import filled
from engine.media.lip_region import lip_box
from trainer.data.files import written_whole
from trainer.metrics.lip_metrics import lip_metrics
from trainer.metrics.mouth import inner_lip_aperture
from trainer.metrics.speech_tracks import band_log_energy_db, voiced_frames
from trainer.metrics.syncnet import SyncNet
from trainer.prepare.clip import clip_frames, clip_voice
from trainer.prepare.duplicates import SOUND_STAGE, majority, picture_bits
from trainer.prepare.lag import chance_of_lag_within
from trainer.prepare.overlays import OVERLAY_STAGE
from trainer.prepare.rows import Rejected, Row, Stage, Workshop

LOOK_EVERY_FRAMES = 12
"""How far apart the frames are in which other faces are looked for."""
SECOND_FACE_LOOKS = 2
"""In so many of them another face must be, because detectors see faces in folds and foliage now and then."""
FACE_SIDE_PX = 256
LIGHT_LOOKS = 5
LAG_CHANCE = 0.05
"""A lag beyond the limit counts where one within it would fit as well by this chance at the most."""


def _length(row: Row, workshop: Workshop) -> Row:
    least = workshop.settings.min_frames
    if row["frames"] < least:
        raise Rejected("too short", f"{row['frames']} frames at 25 per second; at least {least} are wanted.")
    return {}


def _speech(row: Row, workshop: Workshop) -> Row:
    """The share of frames with speech, as silero-vad hears it."""
    share = float(voiced_frames(clip_voice(row, workshop)).mean())
    if share < workshop.settings.min_speech:
        least = workshop.settings.min_speech
        raise Rejected("no speech", f"Speech in {share:.0%} of the clip; at least {least:.0%} is wanted.")
    return {"speech_share": round(share, 4)}


def _faces(row: Row, workshop: Workshop) -> Row:
    """One pass over the frames: the speaker's face in each, other faces, light on the face, the picture's hash."""
    settings = workshop.settings
    lit = set(np.linspace(0, row["frames"] - 1, LIGHT_LOOKS).round().astype(int).tolist())
    others: list[float] = []
    light: list[tuple[float, float]] = []
    hashes: list[np.ndarray] = []
    pictures: list[float] = []
    current: np.ndarray | None = None

    def frames() -> Iterator[np.ndarray]:
        nonlocal current
        for index, current in enumerate(clip_frames(row, workshop)):
            if index % LOOK_EVERY_FRAMES == 0:
                areas = [_area(face.landmarks_px) for face in detect_faces(current, small_too=False)]
                others.append(areas[1] / areas[0] if len(areas) > 1 else 0.0)
                hashes.append(picture_bits(current))
                pictures.append(sharpness(current))
            yield current

    tracked = []
    for index, landmarks_px in enumerate(track_face(frames())):
        tracked.append(landmarks_px)
        if index in lit and landmarks_px is not None and current is not None:
            light.append(_face_light(current, landmarks_px))
    coverage = sum(points is not None for points in tracked) / len(tracked)
    if coverage < settings.min_coverage:
        if (picture := float(np.median(pictures))) < settings.min_sharpness:  # why no face is found
            raise Rejected("blurred", f"No face is found, and the picture's sharpness is {picture:.1f}.")
        least, reason = settings.min_coverage, "no face" if coverage == 0 else "face lost"
        raise Rejected(reason, f"A face in {coverage:.0%} of the frames; at least {least:.0%} is wanted.")
    if sum(other > settings.max_second_face for other in others) >= SECOND_FACE_LOOKS:
        raise Rejected("several faces", f"Another face of {max(others):.0%} of the speaker's area.")
    landmarks_px = filled(tracked)
    shape = row["height_px"], row["width_px"]
    height = float(np.ptp(landmarks_px[:, :, 1], axis=1).mean()) / shape[0]
    if height < settings.min_face:
        least = settings.min_face
        raise Rejected("small face", f"{height:.0%} of the picture's height; at least {least:.0%} is wanted.")
    boxes = np.array([face_box(points, shape) for points in landmarks_px])
    place = workshop.file("faces", row["key"], ".npz")
    with written_whole(place) as partial, partial.open("wb") as file:
        np.savez(
            file,
            landmarks_px=landmarks_px,
            lip_boxes=np.array([lip_box(points, shape) for points in landmarks_px], np.float32),
            face_box=np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)]).astype(np.float32),
        )
    sharp, luma = np.median(light, axis=0) if light else (0.0, 0.0)
    return {
        "face_coverage": round(coverage, 4),
        "face_height": round(height, 4),
        "sharpness": round(float(sharp), 2),
        "luma": round(float(luma), 2),
        "picture_hash": majority(hashes),
        "faces_file": str(place.relative_to(workshop.folder)),
    }


def _area(landmarks_px: np.ndarray) -> float:
    return float(np.prod(np.ptp(landmarks_px[:, :2], axis=0)))


def load_faces(row: Row, workshop: Workshop) -> dict[str, np.ndarray]:
    """What the faces stage left for a clip."""
    with np.load(workshop.folder / row["faces_file"], allow_pickle=False) as arrays:
        return dict(arrays)


def _light(row: Row, workshop: Workshop) -> Row:
    """Whether the face is lit and sharp."""
    darkest, brightest = workshop.settings.luma
    luma, sharp, least = row["luma"], row["sharpness"], workshop.settings.min_sharpness
    if not darkest <= luma <= brightest:
        reason = "dark" if luma < darkest else "overexposed"
        raise Rejected(reason, f"The face's mean luma is {luma:.0f}; {darkest:g} to {brightest:g} is wanted.")
    if sharp < least:
        raise Rejected("blurred", f"The face's sharpness is {sharp:.1f}; at least {least:g} is wanted.")
    return {}


def _face_light(frame: np.ndarray, landmarks_px: np.ndarray) -> tuple[float, float]:
    """Variance of the Laplacian of the face at FACE_SIDE_PX, and its mean luma."""
    x0, y0, x1, y1 = face_box(landmarks_px, frame.shape)
    height, width = frame.shape[:2]
    face = frame[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)]
    shrinks = face.shape[0] > FACE_SIDE_PX
    side = FACE_SIDE_PX, FACE_SIDE_PX
    grey = cv2.cvtColor(
        cv2.resize(face, side, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), cv2.COLOR_RGB2GRAY
    )
    return float(cv2.Laplacian(grey, cv2.CV_64F).var()), float(grey.mean())


def _sync(row: Row, workshop: Workshop) -> Row:
    """Whether the lips keep to the sound: by the mesh (proxy/mesh_lip_r) or by SyncNet."""
    settings = workshop.settings
    if settings.sync == "off":
        return {}
    if settings.sync == "syncnet":
        return _syncnet(row, workshop)
    faces = load_faces(row, workshop)
    aperture = np.array([inner_lip_aperture(points) for points in faces["landmarks_px"]])
    voice = clip_voice(row, workshop)
    try:
        measured, _ = lip_metrics(aperture, voice, english=False)
    except UserError as error:
        raise Rejected("no speech", error.message) from error
    if measured.r < settings.min_lip_r:
        raise Rejected("out of sync", f"proxy/mesh_lip_r {measured.r:.2f}; at least {settings.min_lip_r:g} is wanted.")
    frames = len(aperture)
    loudness, voiced = band_log_energy_db(voice)[:frames], voiced_frames(voice)[:frames]
    chance = chance_of_lag_within(aperture, loudness, voiced, settings.max_lag_frames)
    if chance <= LAG_CHANCE:
        raise Rejected("out of sync", _lag(measured.lag_frames, settings.max_lag_frames))
    return {"lip_r": round(measured.r, 4), "lip_lag_frames": measured.lag_frames, "lip_lag_chance": round(chance, 4)}


def _syncnet(row: Row, workshop: Workshop) -> Row:
    settings, faces = workshop.settings, load_faces(row, workshop)
    assert settings.syncnet is not None
    network = SyncNet.load(settings.syncnet)
    lag, confidence, distance = network.measure(
        clip_frames(row, workshop), faces["landmarks_px"], clip_voice(row, workshop)
    )
    if confidence < settings.min_sync_confidence:
        least = settings.min_sync_confidence
        raise Rejected("out of sync", f"SyncNet's confidence is {confidence:.2f}; at least {least:g} is wanted.")
    if abs(lag) > settings.max_lag_frames:
        raise Rejected("out of sync", _lag(lag, settings.max_lag_frames))
    return {"sync_confidence": round(confidence, 4), "sync_distance": round(distance, 4), "lip_lag_frames": lag}


def _lag(lag: int, limit: int) -> str:
    behind = "lips behind the sound" if lag > 0 else "sound behind the lips"
    return f"The {behind} by {abs(lag)} frames; at most {limit} are allowed."


CLIP_STAGES = (
    Stage("length", 1, _length, ("min_frames",)),
    Stage("speech", 1, _speech, ("min_speech",)),
    OVERLAY_STAGE,
    Stage("faces", 1, _faces, ("min_sharpness", "min_coverage", "max_second_face", "min_face")),
    Stage("light", 1, _light, ("min_sharpness", "luma")),
    Stage("sync", 2, _sync, ("sync", "syncnet", "max_lag_frames", "min_lip_r", "min_sync_confidence")),
    SOUND_STAGE,
)
