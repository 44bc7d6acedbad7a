"""Training clips for nano: what a face does while it says something, or nothing, and the words that describe it.

One in twenty is degraded on purpose and says so in its caption, so that negative guidance with those words steers away
from it.

A clip is a reference (the still picture) and 4n frames behind it; half of the time the reference is the frame just
before, as at a clip's beginning, otherwise the same face at another moment, as for the later windows of a long clip.
Drawn from (seed, step) alone, so that a resumed run sees what an undisturbed one would. No pictures are drawn.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from engine.contract.variants import FPS
from engine.nano.face_motion import CONTROL_POINTS, SLOTS
from trainer.data.faces import EXPRESSIONS, expressions, eye_opening, random_face
from trainer.data.speech.corpus import Corpus
from trainer.data.speech.visemes import closures

EMOTIONS: dict[str, dict[str, tuple[float, float]]] = {
    "calm": {},
    "happy": {"smile": (0.5, 0.9), "squint": (0.2, 0.6)},
    "sad": {"frown": (0.5, 1.0), "furrow": (0.2, 0.5)},
    "angry": {"furrow": (0.7, 1.2), "squint": (0.3, 0.7), "frown": (0.1, 0.4)},
    "surprised": {"brow_right": (0.7, 1.1), "brow_left": (0.7, 1.1), "squint": (-0.5, -0.2)},
}
"""Expressions that a mood adds, with the range of their strength."""

MOVEMENTS = ("still", "natural", "nodding", "shaking", "tilting", "lively")

CAPTION_WORDS: dict[str, tuple[str, ...]] = {
    "calm": ("calm", "calmly", "relaxed", "neutral", "serious"),
    "happy": ("happy", "happily", "smiling", "smile", "smiles", "joyful", "cheerful"),
    "sad": ("sad", "sadly", "unhappy", "gloomy"),
    "angry": ("angry", "angrily", "furious", "annoyed"),
    "surprised": ("surprised", "astonished", "amazed", "eyebrows", "raised"),
    "still": ("still", "motionless", "minimal"),
    "natural": ("natural", "naturally"),
    "nodding": ("nodding", "nod", "nods"),
    "shaking": ("shaking", "shake", "shakes"),
    "tilting": ("tilting", "tilt", "tilts", "tilted"),
    "lively": ("lively", "energetic", "expressive", "animated"),
}
DEGRADED_WORDS: dict[str, tuple[str, ...]] = {
    "frozen": ("frozen", "stiff"),
    "jittery": ("jittery", "twitching"),
    "exaggerated": ("exaggerated", "flapping"),
    "talking in silence": ("talking", "silence"),
}
"""What is wrong with a degraded clip, and the words for it; both of the last are said."""

VOCABULARY = tuple(
    word for captions in (CAPTION_WORDS, DEGRADED_WORDS) for words in captions.values() for word in words
)

_CAPTION_SHARE = 0.7
_DEGRADED_SHARE = 0.05
_CONTINUOUS_SHARE = 0.5
_OPEN_REFERENCE_SHARE = 0.3
_SETTLE_FRAMES = 6
_END_FRAMES = 9
"""How long before its end a clip turns towards the picture that it ends on."""
_QUIET = 0.02
"""Aperture below which nobody speaks."""


@dataclass(frozen=True)
class Clips:
    """A batch: control points of B clips, F = 1 + 4n frames, of which frame 0 is the reference.

    `points` [B, F, 60, 2], `slots` [B, F, 8], `first_frames` [B] (of frame 0 in the corpus), `continuous` [B] bool,
    `known_at_end` [B] how many of the last frames, 1 to 4, are the picture that the clip ends on, or 0; `closed`
    [B, F] bool, where lips close between sounds; `captions` of length B.
    """

    points: np.ndarray
    slots: np.ndarray
    first_frames: np.ndarray
    continuous: np.ndarray
    known_at_end: np.ndarray
    closed: np.ndarray
    captions: list[str]


class ClipMaker:
    """Draws batches from one split of the speech corpus and a pool of random faces."""

    def __init__(self, corpus: Corpus, seed: int, faces: int = 4096) -> None:
        random = np.random.default_rng([seed, 1])
        pool = [random_face(random) for _ in range(faces)]
        self._faces = np.stack([face[CONTROL_POINTS] for face in pool])
        self._eyes = np.stack([eye_opening(face) for face in pool])
        self._expressions = expressions()[:, CONTROL_POINTS]
        self._curves = np.asarray(corpus.curves, np.float32)
        self._emphasis = _emphasis(corpus)
        self._quiet_starts: dict[int, np.ndarray] = {}
        self._seed = seed

    def draw(self, step: int, size: int, content_latents: int, ends: np.ndarray | None = None) -> Clips:
        """The batch of training step `step`: `size` clips of 1 + 4 * `content_latents` frames.

        `ends` [size] bool says which of them end on a second picture of the face; none if it is not given.
        """
        random = np.random.default_rng([self._seed, 2, step])
        frames = 1 + 4 * content_latents
        ends = np.zeros(size, bool) if ends is None else ends
        made = [self._clip(random, frames, bool(end)) for end in ends]
        points, slots, first, continuous, known, closed, captions = zip(*made, strict=True)
        return Clips(
            np.stack(points),
            np.stack(slots),
            np.array(first),
            np.array(continuous),
            np.array(known),
            np.stack(closed),
            list(captions),
        )

    def _clip(self, random: np.random.Generator, frames: int, ends: bool):
        first = int(random.integers(1, len(self._curves) - frames))
        spoken = first
        face = random.integers(len(self._faces))
        mood, movement, caption = _caption(random)
        fault = str(random.choice(list(DEGRADED_WORDS))) if random.random() < _DEGRADED_SHARE else ""
        if fault:
            mood, movement, caption = "calm", "natural", _fault_caption(fault, random)
        if fault == "talking in silence":
            first = int(random.choice(self._quiet(frames)))
        curves = self._curves[spoken : spoken + frames]
        emphasis = self._emphasis[first : first + frames]
        continuous = bool(random.random() < _CONTINUOUS_SHARE)

        strength, slots, feeling = perform(curves, emphasis, mood, movement, random)
        _FAULTS.get(fault, _no_fault)(strength, slots, random)
        still, still_slots = _still_picture(feeling if random.random() < 0.6 else _feeling("calm", random), random)
        if continuous:
            ease = _ease(frames)[:, None]
            strength = still + (strength - still) * ease
            slots = still_slots + (slots - slots[:1] * (np.arange(len(SLOTS)) < _POSES) - still_slots) * ease
        else:
            strength[0], slots[0] = still, still_slots
        known_at_end = int(random.integers(1, 5)) if ends else 0
        if ends:
            last, _ = _still_picture(feeling if random.random() < 0.6 else _feeling("calm", random), random)
            _end_on(strength, slots, last, _end_slots(slots, random), known_at_end)

        strength[:, _BLINKS] *= self._eyes[face]
        points = self._faces[face] + np.einsum("fe,epc->fpc", strength, self._expressions)
        closed = closures(curves[:, 0]) & (not fault)
        return points.astype(np.float32), slots.astype(np.float32), first, continuous, known_at_end, closed, caption

    def _quiet(self, frames: int) -> np.ndarray:
        """First frames of the stretches of `frames` in which least is said: nothing, in any corpus of some size."""
        if frames not in self._quiet_starts:
            heard = np.concatenate([[0], np.cumsum(self._curves[:, 0] > _QUIET)])
            said = heard[1 + frames : -1] - heard[1 : -1 - frames]
            self._quiet_starts[frames] = 1 + np.flatnonzero(said == said.min())
        return self._quiet_starts[frames]


def perform(
    curves: np.ndarray, emphasis: np.ndarray, mood: str, movement: str, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a face does while it says `curves` [F, 5] with `emphasis` [F] in a mood of EMOTIONS and one of MOVEMENTS.

    Returns the strength of EXPRESSIONS [F, 13], the slots [F, 8] and the part of the strength that the mood is [13].
    """
    strength = _speech_strength(curves, random)
    feeling = _feeling(mood, random)
    strength += feeling
    _blink(strength, random)
    _raise_brows(strength, emphasis, random)
    slots = np.concatenate([_head_motion(movement, emphasis, len(curves), random), curves[:, 3:5]], axis=1)
    return strength, slots, feeling


_INDEX = {name: number for number, name in enumerate(EXPRESSIONS)}
_BLINKS = [_INDEX["blink_right"], _INDEX["blink_left"]]
_POSES = 6
"""The first slots are the head's pose."""


_SPREAD, _SPREAD_WITH_JAW, _ROUND = 1.9, 1.2, 1.3
"""Strength of the lips' expressions per width and aperture. A talker's mouth widens as it opens, while the jaw alone
draws its corners in."""

_POSE_SPREAD = np.array([0.045, 0.03, 0.025, 0.010, 0.008, 0.010])
"""Deviation of yaw, pitch, roll, x, y and scale in natural speech."""


def _emphasis(corpus: Corpus) -> np.ndarray:
    """The speech's loudness envelope over half seconds, [frames], zero mean and unit deviation: what nods follow."""
    frames = len(corpus.curves)
    energy = np.empty(frames, np.float32)
    for start in range(0, frames, 10000):
        count = min(10000, frames - start)
        energy[start : start + count] = np.mean(corpus.wave(start, count).reshape(count, -1) ** 2, axis=1)
    envelope = gaussian_filter1d(np.sqrt(energy), 5) - gaussian_filter1d(np.sqrt(energy), 25)
    return envelope / envelope.std()


def _caption(random: np.random.Generator) -> tuple[str, str, str]:
    if random.random() > _CAPTION_SHARE:
        return "calm", "natural", ""
    mood = str(random.choice(list(EMOTIONS)))
    movement = str(random.choice(MOVEMENTS))
    said = [str(random.choice(CAPTION_WORDS[idea])) for idea in (mood, movement) if random.random() < 0.8]
    if not any(word in CAPTION_WORDS[mood] for word in said):
        mood = "calm"
    if not any(word in CAPTION_WORDS[movement] for word in said):
        movement = "natural"
    return mood, movement, " ".join(random.permutation(said))


def _fault_caption(fault: str, random: np.random.Generator) -> str:
    words = DEGRADED_WORDS[fault]
    return " ".join(words) if fault == "talking in silence" else str(random.choice(words))


def _freeze(strength: np.ndarray, slots: np.ndarray, random: np.random.Generator) -> None:
    """Nothing moves, whatever is said."""
    strength[:], slots[:] = strength[:1], slots[:1]


def _jitter(strength: np.ndarray, slots: np.ndarray, random: np.random.Generator) -> None:
    """Head and mouth twitch from frame to frame."""
    slots[:, :3] += random.normal(0, random.uniform(0.015, 0.04), (len(slots), 3))
    strength[:, _INDEX["jaw"]] += random.normal(0, 0.12, len(strength))


def _exaggerate(strength: np.ndarray, slots: np.ndarray, random: np.random.Generator) -> None:
    """The jaw flaps and the head swings far more than anybody's."""
    strength[:, _INDEX["jaw"]] *= random.uniform(1.6, 2.2)
    slots[:, :_POSES] *= random.uniform(2.5, 4.0)


def _no_fault(strength: np.ndarray, slots: np.ndarray, random: np.random.Generator) -> None:
    """A clip as it should be; one that talks in silence moves as it should, but to another sound."""


_FAULTS = {"frozen": _freeze, "jittery": _jitter, "exaggerated": _exaggerate}


def _end_slots(slots: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The slots [8] of the last picture: another pose, mouth's inside as at rest."""
    end = np.zeros(len(SLOTS))
    end[:_POSES] = random.normal(0, 1.5, _POSES) * _POSE_SPREAD
    return end


def _end_on(
    strength: np.ndarray, slots: np.ndarray, last: np.ndarray, last_slots: np.ndarray, known_at_end: int
) -> None:
    """Turn a clip towards its last picture, which it holds for `known_at_end` frames."""
    frames = len(strength)
    share = np.clip((np.arange(frames) - (frames - known_at_end - _END_FRAMES)) / _END_FRAMES, 0, 1)[:, None]
    ease = share * share * (3 - 2 * share)
    strength += (last - strength) * ease
    slots += (last_slots - slots) * ease


def _speech_strength(curves: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """[F, 13] from the mouth curves [F, 5], in a random person's manner."""
    aperture, width, bite = curves[:, 0], curves[:, 1], curves[:, 2]
    strength = np.zeros((len(curves), len(EXPRESSIONS)))
    strength[:, _INDEX["jaw"]] = aperture * random.uniform(0.75, 1.15)
    manner = random.uniform(0.7, 1.2)
    strength[:, _INDEX["spread"]] = (_SPREAD * np.maximum(width, 0) + _SPREAD_WITH_JAW * aperture) * manner
    strength[:, _INDEX["round"]] = _ROUND * np.maximum(-width, 0) * manner
    strength[:, _INDEX["bite"]] = bite
    return strength


def _feeling(mood: str, random: np.random.Generator) -> np.ndarray:
    strength = np.zeros(len(EXPRESSIONS))
    for name, (low, high) in EMOTIONS[mood].items():
        strength[_INDEX[name]] = random.uniform(low, high)
    strength[_INDEX["smile"]] += max(0.0, random.normal(0.0, 0.1))
    return strength


def _blink(strength: np.ndarray, random: np.random.Generator) -> None:
    """A blink every 2 to 6 s: closing in 2 frames, shut for 1 or 2, opening in 3."""
    frame = int(random.uniform(-2, 4) * FPS)
    while frame < len(strength):
        course = [0.45, 0.95, *[1.0] * int(random.integers(1, 3)), 0.75, 0.4, 0.12]
        for offset, closed in enumerate(course):
            if 0 <= frame + offset < len(strength):
                strength[frame + offset, _BLINKS] = np.maximum(strength[frame + offset, _BLINKS], closed)
        frame += int(random.uniform(2, 6) * FPS)


def _raise_brows(strength: np.ndarray, emphasis: np.ndarray, random: np.random.Generator) -> None:
    """Eyebrows rise with emphasis, a little and not in everybody."""
    lift = np.clip(gaussian_filter1d(emphasis, 2) - 0.8, 0, 1.5) * max(0.0, random.normal(0.15, 0.15))
    strength[:, [_INDEX["brow_right"], _INDEX["brow_left"]]] += lift[:, None]


def _head_motion(movement: str, emphasis: np.ndarray, frames: int, random: np.random.Generator) -> np.ndarray:
    """Pose slots [F, 6]: slow wander, nods on emphasis, and what the caption asks for."""
    size = {"still": 0.15, "lively": 2.0}.get(movement, 1.0) * random.uniform(0.6, 1.3)
    wander = gaussian_filter1d(random.normal(0, 1, (frames + 200, 6)), 14, axis=0)[100 : 100 + frames]
    pose = wander / 0.142 * _POSE_SPREAD * size
    pose[:, 1] += gaussian_filter1d(emphasis, 2) * 0.012 * size
    swing = {"nodding": (1, 0.10), "shaking": (0, 0.14), "tilting": (2, 0.12)}.get(movement)
    if swing:
        axis, reach = swing
        rate_hz = random.uniform(0.7, 1.3) if axis != 2 else random.uniform(0.25, 0.5)
        times_s = np.arange(frames) / FPS
        pose[:, axis] += reach * random.uniform(0.7, 1.3) * np.sin(2 * np.pi * (rate_hz * times_s + random.random()))
    return pose


def _still_picture(feeling: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A portrait's expression [13] and slots [8]: mostly closed lips, sometimes open, the pose the origin of poses."""
    strength = feeling.copy()
    if random.random() < _OPEN_REFERENCE_SHARE:
        strength[_INDEX["jaw"]] += random.uniform(0.02, 0.5)
        strength[_INDEX["smile"]] += random.uniform(0, 0.7)
    strength[_INDEX["squint"]] += random.normal(0, 0.15)
    return strength, np.zeros(len(SLOTS))


def _ease(frames: int) -> np.ndarray:
    """From the still picture (0) into the clip (1) within a few frames."""
    share = np.clip(np.arange(frames) / _SETTLE_FRAMES, 0, 1)
    return share * share * (3 - 2 * share)
