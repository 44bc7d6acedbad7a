"""What is measured on nano's own videos of the example portraits: the seams of a long clip, the two ends.

Everything is judged by the finished file, as a user gets it; FaceMesh reads the faces.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

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
from engine.sampling.long_video import plan_windows
from engine.sampling.tasks import FRAMES_PER_LATENT, next_valid_length, to_latent_frames
from engine.session import EXPECTED_S
from goals.engine.jobs import voice
from goals.goal import Place, Row, at_least, at_most, mean_interval
from trainer.metrics.contact_sheet import ContactSheet
from trainer.metrics.fidelity import luma, luma_psnr_db
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
        request = build_request({"seed": 0} | values, settings or {})
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


def seams(place: Place) -> list[Row]:
    """A minute of nano's video with Long Video CFG, and with its windows denoised apart and cross-faded.

    The jump is that from the left window's last frame to the right one's first, in the middle of their overlap, on the
    finished files.
    """
    sound = place.videos / "minute.wav"
    soundfile.write(sound, voice(place.examples, LONG_S), SAMPLE_RATE_HZ)
    values = {"image": speaker(place), "audio": sound, "seed": 0}
    studio = Studio()
    moves = {}
    for mode in ("all", "off"):
        request = studio.make(values | {"out": place.videos / f"minute-{mode}.mp4"}, {"long_video.mode": mode})
        moves[mode] = look(request.out).moves()
    latents = to_latent_frames(next_valid_length(len(moves["all"]) + 1))
    overlap = request.settings.long_video.overlap_latent_frames
    windows = plan_windows(1, latents, studio.animator.window_latent_frames, overlap)
    frames = [FRAMES_PER_LATENT * ((left.stop + right.start) // 2 - 1) for left, right in pairwise(windows)]
    usual = float(np.percentile(moves["all"], 95))
    jumps = {mode: track[[frame for frame in frames if frame < len(track)]] / usual for mode, track in moves.items()}
    mean = {mode: float(values.mean()) for mode, values in jumps.items()}
    low, high = mean_interval(jumps["off"] - jumps["all"])
    what = "60 s of nano, finished clips, jump of the landmarks where windows meet over the clip's 95th percentile"
    return [
        at_most(f"{what}: Long Video CFG", mean["all"], 1.0, more=f" ({len(frames)} seams)"),
        Row(
            f"{what}: windows apart and cross-faded, less that",
            "> 0, its 95 % interval too: what Long Video CFG gains",
            f"{mean['off'] - mean['all']:+.3f} (95 % {low:+.3f} to {high:+.3f})",
            low > 0,
        ),
    ]


def speaker(place: Place) -> Path:
    """The speaker's portrait at WIDTH_PX."""
    path = place.videos / "portrait.png"
    with Image.open(place.examples / f"{SPEAKER}.jpg") as image:
        scale = min(1.0, WIDTH_PX / image.width)
        image.resize((round(image.width * scale), round(image.height * scale / 2) * 2)).save(path)
    return path


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
