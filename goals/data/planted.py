"""Test videos for data preparation: nano speaks from the bundled portraits, and some videos get one defect each.

Every clean video, and every one that a defect is planted in, has a portrait and a voice that no other video has
together: the bundled recordings, then synthetic voices that nano never heard. Made from a seed alone. Needs espeak-ng,
flite and festival (Debian).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import soundfile
from scipy.signal import fftconvolve

from engine.contract.places import ASSETS
from engine.contract.request import build_request
from engine.contract.variants import FPS
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from engine.media.video import VideoWriter, probe, read_video_frames
from engine.session import Session
from trainer.data.speech.corpus import make_track

EXAMPLES = ASSETS / "examples"
VIDEO_S = 5.0
SUBTITLES = (
    "and that is how it works",
    "welcome to the evening news",
    "we will be back soon",
    "thank you all for coming",
)
_VOICES = ("heldout_rms", "heldout_ked", "heldout_voice")


@dataclass(frozen=True)
class Planted:
    """A video's file name and its defect: a reason of `trainer.prepare`, or None where it is clean."""

    name: str
    defect: str | None


@dataclass(frozen=True, eq=False)
class _Base:
    """A clean video to plant defects in: frames uint8 RGB [H, W, 3] and mono sound at 16 kHz."""

    frames: list[np.ndarray]
    wave: np.ndarray


def plant(folder: Path, seed: int, clean: int = 22, of_each: int = 4) -> list[Planted]:
    """Write `clean` videos and `of_each` of the seven defects into `folder`; videos that are there are kept."""
    made: list[Planted] = []
    bases = folder.with_name(f"{folder.name}.bases")
    for directory in (folder, bases):
        directory.mkdir(parents=True, exist_ok=True)
    base = partial(_base, Session(), bases, seed)
    for index in range(clean):
        made.append(Planted(f"clean_{index:02d}.mp4", None))
        _write(folder / made[-1].name, partial(base, index), fps=30 if index % 8 == 7 else FPS)
    number = clean
    for defect, spoil in DEFECTS.items():
        for index in range(of_each):
            made.append(Planted(f"{defect.replace(' ', '_')}_{index}.mp4", defect))
            one, other = number, clean - 3 + (number + 1 - clean) % 3  # of the last clean ones, another portrait
            if defect == "duplicate":
                one = other = index
            else:
                number += 1
            _write(folder / made[-1].name, partial(_spoilt, spoil, partial(base, one), partial(base, other), index))
    return made


def _spoilt(spoil: "Spoil", base: Callable[[], "_Base"], other: Callable[[], "_Base"], index: int) -> "_Base":
    return spoil(base(), other(), index)


def _base(session: Session, folder: Path, seed: int, number: int) -> _Base:
    """Base video `number`, generated if it is not there."""
    path = folder / f"{number:02d}.mp4"
    voice = path.with_suffix(".wav")
    if not path.exists():
        earlier = [read_audio(folder / f"{before:02d}.wav") for before in range(number)]
        soundfile.write(voice, _voice(seed, number, earlier), SAMPLE_RATE_HZ, subtype="PCM_16")
        portraits = sorted(EXAMPLES.glob("*.jpg"))
        values = {
            "task": "talking-head",
            "image": portraits[number % len(portraits)],
            "audio": voice,
            "out": path,
            "seed": seed * 1000 + number,
        }
        session.generate(build_request(values))
    return _Base(list(read_video_frames(path)), read_audio(voice))


def _voice(seed: int, number: int, earlier: list[np.ndarray]) -> np.ndarray:
    """The bundled recordings on every portrait first, then synthetic voices in turn; float32 [n] at 16 kHz.

    A sentence that a voice has said in `earlier` is passed over: the engines draw from a limited number.
    """
    recorded, portraits = sorted(EXAMPLES.glob("*.wav")), len(list(EXAMPLES.glob("*.jpg")))
    if number < len(recorded) * portraits:
        return read_audio(recorded[number // portraits])
    for index in count(number, 1000):
        wave = make_track(seed + 100, _VOICES[number % len(_VOICES)], index).wave
        start = int(np.flatnonzero(np.abs(wave) > 0.02)[0]) - SAMPLE_RATE_HZ // 5
        wave = wave[max(0, start) :][: round(VIDEO_S * SAMPLE_RATE_HZ)]
        if not any(_repeats(wave, before) for before in earlier):
            return wave
    raise AssertionError


def _repeats(wave: np.ndarray, before: np.ndarray) -> bool:
    """Whether a good part of a sound is in another, moved by any time."""
    common = np.abs(fftconvolve(wave, before[::-1])).max()
    return bool(common > 0.4 * np.sqrt(np.sum(wave**2) * np.sum(before**2)))


def _write(path: Path, make: Callable[[], _Base], fps: int = FPS) -> None:
    if path.exists():
        return
    base = make()
    height, width = base.frames[0].shape[:2]
    with VideoWriter(path, (width, height), fps, base.wave, marked=False) as writer:
        for frame in _at_rate(base.frames, fps):
            writer.write(frame)
    assert probe(path).num_frames >= FPS


def _at_rate(frames: list[np.ndarray], fps: int) -> Iterator[np.ndarray]:
    """Frames at 25 per second as `fps` shows them."""
    for index in range(round(len(frames) * fps / FPS)):
        yield frames[min(len(frames) - 1, int((index + 0.5) * FPS / fps))]


def _resized(frame: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return cv2.resize(frame, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)


def _cut(base: _Base, other: _Base, index: int) -> _Base:
    """Another person from the middle on, or the same one framed closer."""
    middle, shape = len(base.frames) // 2 + 5 * index, base.frames[0].shape
    if index % 2 == 0:
        after = [_resized(frame, shape) for frame in other.frames[middle:]]
    else:
        rows, columns = (slice(side // 8, side - side // 8) for side in shape[:2])
        after = [_resized(frame[rows, columns], shape) for frame in base.frames[middle:]]
    return _Base([*base.frames[:middle], *after], base.wave)


def _subtitled(base: _Base, other: _Base, index: int) -> _Base:
    """A line of text near the lower edge, for the whole video or its last two seconds."""
    height, width = base.frames[0].shape[:2]
    text, font = SUBTITLES[index % len(SUBTITLES)], cv2.FONT_HERSHEY_DUPLEX
    (wide, _), _ = cv2.getTextSize(text, font, 1.0, 1)
    size = 0.7 * width / wide
    place = (round(0.15 * width), round(0.93 * height))
    frames = [frame.copy() for frame in base.frames]
    for frame in frames[0 if index % 2 else len(frames) - 2 * FPS :]:
        cv2.putText(frame, text, place, font, size, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.putText(frame, text, place, font, size, (255, 255, 255), 1, cv2.LINE_AA)
    return _Base(frames, base.wave)


def _late(base: _Base, other: _Base, index: int) -> _Base:
    """The sound 0.24 to 0.6 s behind the pictures."""
    delay = round((0.24 + 0.12 * index) * SAMPLE_RATE_HZ)
    return _Base(base.frames, np.concatenate([np.zeros(delay, np.float32), base.wave[:-delay]]))


def _two_faces(base: _Base, other: _Base, index: int) -> _Base:
    """Two speakers side by side."""
    pairs = zip(base.frames, other.frames, strict=False)
    return _Base([np.hstack([one, _resized(two, one.shape)]) for one, two in pairs], base.wave)


def _silent(base: _Base, other: _Base, index: int) -> _Base:
    """No voice: digital silence, or a faint hiss."""
    hiss = np.random.default_rng(index).normal(0.0, 0.003 * (index % 2), len(base.wave))
    return _Base(base.frames, hiss.astype(np.float32))


def _blurred(base: _Base, other: _Base, index: int) -> _Base:
    """Out of focus by 1.2 to 2.1 % of the picture's height."""
    sigma = (0.012 + 0.003 * index) * base.frames[0].shape[0]
    return _Base([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in base.frames], base.wave)


def _copied(base: _Base, other: _Base, index: int) -> _Base:
    """A clean video again, smaller and, every second time, cut off at the front."""
    first = 6 * (index % 2)
    height, width = base.frames[0].shape[:2]
    shape = (round(0.4 * height) * 2, round(0.4 * width) * 2)
    return _Base([_resized(frame, shape) for frame in base.frames[first:]], base.wave[first * SAMPLE_RATE_HZ // FPS :])


Spoil = Callable[[_Base, _Base, int], _Base]

DEFECTS: dict[str, Spoil] = {
    "cut": _cut,
    "text": _subtitled,
    "out of sync": _late,
    "several faces": _two_faces,
    "no speech": _silent,
    "blurred": _blurred,
    "duplicate": _copied,
}
"""How each defect is planted, by the reason for which a video with it is rejected."""
