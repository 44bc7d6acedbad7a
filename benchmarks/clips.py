"""What is measured on nano's own videos of the example portraits: the seams of a long clip, lip-sync, the two ends.

Everything but the seams is judged by the finished file, as a user gets it; FaceMesh reads the faces.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.jobs import voice
from benchmarks.rows import Place, Row, at_least, at_most
from engine.contract.progress import ProgressMeter, ignore_progress
from engine.contract.request import GenerationRequest, build_request
from engine.contract.variants import FPS, find_variant
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from engine.media.face import find_face, track_face
from engine.media.inputs import Inputs, read_inputs
from engine.media.lip_region import lip_box
from engine.media.picture import even_size, read_picture
from engine.media.video import read_video_frames
from engine.nano.animator import NanoAnimator
from engine.nano.model import NanoModel
from engine.pipeline import generate
from engine.sampling.denoise import denoise
from engine.sampling.long_video import Window
from engine.sampling.tasks import FRAMES_PER_LATENT
from engine.session import EXPECTED_S
from trainer.metrics.contact_sheet import ContactSheet
from trainer.metrics.fidelity import luma, luma_psnr_db
from trainer.metrics.lip_metrics import lip_metrics
from trainer.metrics.mouth import inner_lip_aperture
from trainer.metrics.speech_tracks import band_log_energy_db

SPEAKER = "2025-07-14-3927"
"""The examples' portrait whose own speech is among them."""
LONG_S = 60.0
WIDTH_PX = 640
"""The width at which she is filmed: a lip's place does not need more, and every frame costs by its pixels."""
ENDING_FRAMES = 5
MOUTH_TOLERANCE = 0.02
"""Of an opening in distances between the eyes: what FaceMesh reads differently from one encoding to the next."""


class Studio:
    """A loaded nano that makes requests into videos, and shows every frame to `watch` before it is encoded."""

    def __init__(self, model: str = "nano") -> None:
        self.animator = WatchedAnimator(NanoModel.load(find_variant(model).folder))

    def make(self, values: dict[str, Any], settings: dict[str, Any] | None = None) -> GenerationRequest:
        """The video of a request."""
        request = build_request(values, settings or {})
        generate(self.animator, read_inputs(request), request, ProgressMeter(ignore_progress, EXPECTED_S))
        return request


class WatchedAnimator(NanoAnimator):
    """Nano, and for lip-sync the largest difference from the film outside the lower face's box."""

    outside: int | None = None

    def frames(self, latents: Tensor, inputs: Inputs, request: GenerationRequest) -> Iterator[NDArray[np.uint8]]:
        """The frames as they are drawn."""
        drawn = super().frames(latents, inputs, request)
        film, plan = inputs.film, inputs.plan
        if film is None or plan is None:
            yield from drawn
            return
        self.outside = 0
        for index, source, frame in zip(plan.indices, film.frames(plan.indices), drawn, strict=True):
            landmarks_px = film.landmarks_px[index]
            difference = np.abs(frame.astype(np.int16) - even_size(source)).max(axis=2)
            if landmarks_px is not None:
                x0, y0, x1, y1 = lip_box(landmarks_px, film.shape)
                height, width = film.shape
                # A pixel that the box's edge crosses belongs to it.
                difference[int(y0 * height) : int(np.ceil(y1 * height)), int(x0 * width) : int(np.ceil(x1 * width))] = 0
            self.outside = max(self.outside, int(difference.max()))
            yield frame


@dataclass
class Track:
    """What FaceMesh and the eye see of a finished video."""

    landmarks: list[NDArray[np.floating]] = field(default_factory=list)
    brightness: list[NDArray[np.float32]] = field(default_factory=list)
    first: NDArray[np.uint8] | None = None
    last: NDArray[np.uint8] | None = None

    def moves(self) -> NDArray[np.float64]:
        """Mean distance of the landmarks from frame to frame, in distances between the eyes: [F - 1]."""
        points = np.stack(self.landmarks)[:, :, :2]
        eyes = np.linalg.norm(points[0, 33] - points[0, 263])
        return np.linalg.norm(np.diff(points, axis=0), axis=2).mean(axis=1) / eyes

    def flashes(self) -> NDArray[np.float64]:
        """Mean absolute change of luma from frame to frame: [F - 1]."""
        return np.array([np.abs(b - a).mean() for a, b in zip(self.brightness, self.brightness[1:], strict=False)])

    def apertures(self) -> NDArray[np.float64]:
        """The opening of the inner lips: [F]."""
        return np.array([inner_lip_aperture(points) for points in self.landmarks])


def look(video: Path) -> Track:
    """Read `video` once; a frame without a face has the face before it. Writes a contact sheet beside it."""
    track = Track()

    def frames() -> Iterator[NDArray[np.uint8]]:
        for frame in read_video_frames(video):
            track.first = frame if track.first is None else track.first
            track.last = frame
            track.brightness.append(luma(frame)[::4, ::4])
            yield frame

    for points in track_face(frames()):
        track.landmarks.append(track.landmarks[-1] if points is None else points)
    write_sheet(video, track)
    return track


def write_sheet(video: Path, track: Track) -> None:
    """The video's faces on one picture, for a person to look at."""
    every = np.stack(track.landmarks)[:, :, :2]
    (x0, y0), (x1, y1) = every.min(axis=(0, 1)).astype(int), every.max(axis=(0, 1)).astype(int)
    sheet = ContactSheet(len(every), (int(x0), int(y0), int(x1), int(y1)))
    for index, frame in enumerate(read_video_frames(video)):
        sheet.add(index, frame)
    sheet.write(video.with_suffix(".png"), track.apertures())


@torch.inference_mode()
def seams(place: Place) -> list[Row]:
    """A minute of nano's motion: how far the face jumps where one window hands over to the next.

    The jump is that from the left window's last frame to the right one's first, in the middle of their overlap. Blended
    windows are one motion, so theirs is that of the clip; windows that were denoised apart have one each, and what
    their cross-fade makes of it is told beside.
    """
    sound = place.videos / "minute.wav"
    soundfile.write(sound, voice(place.examples, LONG_S), SAMPLE_RATE_HZ)
    values = {"image": place.examples / f"{SPEAKER}.jpg", "audio": sound, "out": place.videos / "minute.mp4"}
    animator = Studio().animator
    inputs = read_inputs(build_request(values))
    reference = animator.reference(inputs)
    length = animator.window_latent_frames

    def faces(latents: Tensor) -> NDArray[np.floating]:
        return animator.model.autoencoder.decode_motion(latents, reference).landmarks_px

    def make(mode: str, hear_window: Any = None) -> NDArray[np.floating]:
        request = build_request(values, {"long_video.mode": mode})
        conditions = animator.encode(inputs, request)
        return faces(
            denoise(
                animator.transformer,
                conditions,
                request.settings,
                window_latent_frames=length,
                seed=0,
                watch=lambda done, clean: None,
                hear_window=hear_window,
            )
        )

    blended = make("all")
    own: list[tuple[Window, NDArray[np.floating]]] = []
    still = animator.model.autoencoder.encode_reference(reference)
    faded = make("off", lambda window, end: own.append((window, faces(torch.cat([still, end], dim=2)))))

    usual = float(np.percentile(steps(blended[:-1], blended[1:]), 95))
    jumps: dict[str, list[float]] = {"all": [], "off": [], "faded": []}
    for (before, left), (after, right) in pairwise(own):
        middle = (before.stop + after.start) // 2
        last = FRAMES_PER_LATENT * (middle - 1)
        in_left, in_right = last - FRAMES_PER_LATENT * (before.start - 1), last - FRAMES_PER_LATENT * (after.start - 1)
        jumps["all"].append(float(steps(blended[last], blended[last + 1])))
        jumps["faded"].append(float(steps(faded[last], faded[last + 1])))
        jumps["off"].append(float(steps(left[in_left], right[in_right + 1])))
    mean = {name: float(np.mean(values)) / usual for name, values in jumps.items()}
    worst = f" (95th percentile {np.percentile(jumps['all'], 95) / usual:.2f}, {len(own)} windows)"
    what = "60 s of nano, `{}`: mean landmark jump at the windows' seams over the clip's own motion, 95th percentile"
    return [
        at_most(what.format("all"), mean["all"], 1.0, more=worst),
        at_least(
            what.format("off") + " (the ablation, which must fail)",
            mean["off"],
            1.5,
            more=f" before the cross-fade that hides it, {mean['faded']:.2f} behind it",
        ),
    ]


def steps(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean distance of the landmarks [..., 468, 3] of two faces, in the picture's plane."""
    return np.linalg.norm((other - one)[..., :2], axis=-1).mean(axis=-1)


def speaker(place: Place) -> Path:
    """The speaker's portrait at WIDTH_PX."""
    path = place.videos / "portrait.png"
    with Image.open(place.examples / f"{SPEAKER}.jpg") as image:
        scale = min(1.0, WIDTH_PX / image.width)
        image.resize((round(image.width * scale), round(image.height * scale / 2) * 2)).save(path)
    return path


def lip_sync(place: Place) -> list[Row]:
    """The example speaker's video, made with her own speech, given the other speech."""
    studio = Studio()
    own, other = place.examples / f"speech_{SPEAKER}.wav", place.examples / "speech_01.wav"
    film, synced = place.videos / "speaker.mp4", place.videos / "lip-sync.mp4"
    studio.make({"image": speaker(place), "audio": own, "out": film})
    studio.make({"task": "lip-sync", "video": film, "audio": other, "out": synced})
    metric, _ = lip_metrics(look(synced).apertures(), read_audio(synced, field="video"), english=False)
    before, _ = lip_metrics(look(film).apertures(), read_audio(film, field="video"), english=False)
    outside = studio.animator.outside
    return [
        at_least(
            "lip-sync of the example speaker's film to the other speech: `proxy/mesh_lip_r`",
            metric.r,
            0.55,
            ".3f",
            more=f" (the film itself with its own speech: {before.r:.3f})",
        ),
        Row(
            "lip-sync: PSNR outside the lower face, before encoding",
            "infinite",
            "infinite" if outside == 0 else f"a pixel differs by {outside}",
            outside == 0,
        ),
    ]


def first_last(place: Place) -> list[Row]:
    """From the speaker's portrait to a frame of her own video with open lips, on speech that stops in a vowel."""
    studio = Studio()
    portrait, film = speaker(place), place.videos / "speaker.mp4"
    if not film.is_file():
        studio.make({"image": portrait, "audio": place.examples / f"speech_{SPEAKER}.wav", "out": film})
    ending = place.videos / "last.png"
    Image.fromarray(_open_frame(film)).save(ending)
    sound, video = place.videos / "vowel.wav", place.videos / "first-last.mp4"
    soundfile.write(sound, ends_on_a_vowel(read_audio(place.examples / "speech_01.wav")), SAMPLE_RATE_HZ)
    studio.make({"task": "first-last-frame", "image": portrait, "last_image": ending, "audio": sound, "out": video})
    track = look(video)
    assert track.first is not None and track.last is not None
    everywhere = np.ones(track.first.shape[:2], dtype=bool)
    psnr = [
        luma_psnr_db(luma(frame), luma(even_size(read_picture(path))), everywhere)
        for frame, path in ((track.first, portrait), (track.last, ending))
    ]
    moves, flashes = track.moves(), track.flashes()
    jumps = [max(values[0], values[-1]) / np.percentile(values, 95) for values in (moves, flashes)]
    apertures = track.apertures()
    wanted = inner_lip_aperture(find_face(read_picture(ending))[0].landmarks_px)
    distance = np.abs(apertures - wanted)
    before, during = distance[-3 * ENDING_FRAMES : -ENDING_FRAMES].mean(), distance[-ENDING_FRAMES:].mean()
    return [
        at_least(
            "first-last-frame: first and last frame against the given ones, luma PSNR", min(psnr), 35, ".1f", unit=" dB"
        ),
        at_most(
            "first-last-frame: landmark jump into and out of the ends over the clip's 95th percentile", jumps[0], 1.0
        ),
        at_most("first-last-frame: luma jump into and out of the ends over the clip's 95th percentile", jumps[1], 1.0),
        Row(
            "first-last-frame on speech that ends on a vowel: the mouth over the last 5 frames",
            "nearer to the last picture's than before, and there at the end",
            f"opening {apertures[-1]:.3f}, the picture's {wanted:.3f}; away {before:.3f} before, {during:.3f} in them",
            bool(during < before and distance[-1] <= MOUTH_TOLERANCE),
        ),
    ]


def ends_on_a_vowel(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """The speech up to the loudest frame of its second half, which is in a vowel."""
    energy = band_log_energy_db(speech)
    half = len(energy) // 2
    return speech[: (half + int(np.argmax(energy[half:])) + 1) * (SAMPLE_RATE_HZ // FPS)]


def _open_frame(film: Path) -> NDArray[np.uint8]:
    """The frame of `film` whose mouth is open by the median of its openings: neither shut nor at its widest."""
    apertures = np.array([np.nan if p is None else inner_lip_aperture(p) for p in track_face(read_video_frames(film))])
    chosen = int(np.nanargmin(np.abs(apertures - np.nanmedian(apertures))))
    return next(islice(read_video_frames(film), chosen, None))


def half_body(place: Place) -> list[Row]:
    """No goal of its own: a video and its contact sheet to look at."""
    video = place.videos / "half-body.mp4"
    values = {"task": "half-body", "image": place.examples / "guitar_man_01.jpg", "out": video}
    Studio().make(values | {"audio": place.examples / "speech_01.wav"})
    frames = len(look(video).landmarks)
    expected = round(len(read_audio(place.examples / "speech_01.wav")) / SAMPLE_RATE_HZ * FPS)
    return [Row("half body: frames of a playable video", f"{expected} ± 1", str(frames), abs(frames - expected) <= 1)]
