"""How alive finished videos are: every number of `trainer.metrics.liveliness` as a band round real talkers.

Portraits of the examples, and those that come with the program, say voices that nano never heard, all with one seed, so
that a head that always dances the same dance shows. FaceMesh measures the decoded videos, not nano's own motion.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from engine.contract.places import ASSETS
from engine.contract.request import build_request
from engine.media.audio import SAMPLE_RATE_HZ
from engine.media.face import track_face
from engine.media.video import read_video_frames
from engine.session import Session
from goals.goal import Measured, Place, Row, at_most, table, within
from goals.nano.clip import Portrait
from goals.nano.look import LookSheet
from trainer.metrics.held_out import HELD_OUT_SPLITS, held_out_tracks
from trainer.metrics.liveliness import BANDS, BackgroundWatcher, FaceTracks, Liveliness, liveliness, sameness

VOICES = 3
CLIP_S = 6.0
SEED = 11
MOST_ALIKE_R = 0.3
MOST_STIRRED = 0.5
"""Of 255: what H.264 leaves of a background that is still to the bit."""
TOLD = {
    "blinks_per_min": "blinks per minute",
    "blink_depth": "how far a blink closes",
    "blink_fwhm_frames": "frames that a blink lasts (half height)",
    "blink_asymmetry": "difference between the two lids' blinks",
    "winks": "winks",
    "lid_sd": "lids between blinks, sd mm",
    "brow_range": "brows, range mm",
    "yaw_sd": "head yaw, sd °",
    "pitch_sd": "head pitch, sd °",
    "roll_sd": "head roll, sd °",
    "yaw_range": "head yaw, range °",
    "yaw_speed_p95": "head yaw speed, 95th percentile °/s",
    "openings_per_s": "openings of the mouth per second",
    "opening_p90": "opening, 90th percentile mm",
    "opening_p99": "opening, 99th percentile mm",
    "opening_speed_p95": "opening speed, 95th percentile mm/frame",
    "width_sd": "mouth width, sd mm",
    "opening_width_r": "correlation of opening and width",
    "protrusion_sd": "protrusion of the lips, sd mm",
    "corner_sd": "corners' height, sd mm",
    "corner_difference_sd": "left and right corner, sd of the difference mm",
}


@dataclass(frozen=True)
class LivedClip:
    """One video, measured."""

    name: str
    voice: int
    tracks: FaceTracks
    life: Liveliness
    background: float
    """Deviation over time of the pixels outside the person, 99th percentile of them, of 255; NaN without any."""


def measure(place: Place) -> Measured:
    """Rows, and every clip's numbers behind them; frames, mouths and tracks of all clips go to look.jpg."""
    with tempfile.TemporaryDirectory() as folder:
        clips = list(_clips(place, Path(folder)))
    return Measured(life_rows(clips), _details(clips))


def life_rows(clips: Sequence[LivedClip]) -> list[Row]:
    """Medians over the clips against the bands, and what must hold of all clips together."""
    rows = []
    for name, (low, high) in BANDS.items():
        values = [clip.life.rows()[name] for clip in clips]
        rows.append(within(f"{TOLD[name]}, median of {len(clips)} clips", float(np.nanmedian(values)), low, high))
    unblinking = sum(clip.life.blinks_per_min == 0 for clip in clips)
    rows.append(at_most(f"clips of {CLIP_S:g} s without a blink", unblinking, 0, "d"))
    # Of one portrait, so that nothing but the voice differs.
    for axis in ("yaw_r", "pitch_r", "roll_r"):
        alike = [sameness([clip.tracks for clip in of_one])[axis] for of_one in _by_portrait(clips)]
        what = f"{axis[:-2]} of one face and one seed under {VOICES} voices, mean r"
        rows.append(at_most(what, float(np.mean(alike)), MOST_ALIKE_R))
    stirred = [clip.background for clip in clips if np.isfinite(clip.background)]
    what = f"background outside the person, sd over time, worst of {len(stirred)} clips, of 255"
    rows.append(at_most(what, max(stirred), MOST_STIRRED))
    return rows


def _by_portrait(clips: Sequence[LivedClip]) -> list[list[LivedClip]]:
    names = dict.fromkeys(clip.name for clip in clips)
    return [[clip for clip in clips if clip.name == name] for name in names]


def _clips(place: Place, folder: Path) -> Iterator[LivedClip]:
    voices = []
    for number, track in enumerate(held_out_tracks(HELD_OUT_SPLITS, VOICES, CLIP_S, first=7000)):
        voices.append(folder / f"voice{number}.wav")
        soundfile.write(voices[-1], track.wave, SAMPLE_RATE_HZ)
    session, sheet = Session(), LookSheet()
    for path in [*sorted(place.examples.glob("*.jpg")), *sorted((ASSETS / "examples").glob("*.jpg"))]:
        portrait = Portrait(path)
        for number, voice in enumerate(voices):
            video = folder / f"{path.stem}-{number}.mp4"
            model = place.options.get("model", "nano")
            session.generate(build_request({"image": path, "audio": voice, "model": model, "seed": SEED, "out": video}))
            print(f"  {path.stem}, voice {number}", flush=True)
            clip = _measured(portrait, number, video)
            sheet.add(clip.name, video, clip.tracks)
            yield clip
    sheet.write(place.videos / "look.jpg")


def _measured(portrait: Portrait, voice: int, video: Path) -> LivedClip:
    watcher, frames = BackgroundWatcher(portrait.background), read_video_frames(video)

    def watched() -> Iterator[np.ndarray]:
        for frame in frames:
            watcher.see(frame)
            yield frame

    tracks = FaceTracks.of(list(track_face(watched())), 25.0)
    return LivedClip(portrait.path.stem, voice, tracks, liveliness(tracks), watcher.deviation()[1])


def _details(clips: Sequence[LivedClip]) -> str:
    names = list(BANDS)
    lines = [
        [clip.name, str(clip.voice), *(f"{clip.life.rows()[name]:.2f}" for name in names), f"{clip.background:.2f}"]
        for clip in clips
    ]
    return "## Life, clip by clip\n\n" + table(["portrait", "voice", *names, "background"], lines)
