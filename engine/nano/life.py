"""What a living face does besides speaking: it blinks, looks about, breathes, listens to its own voice with the head.

Tracks over absolute time from a voice, a prompt and a key; the same three give the same tracks, and nothing is drawn
anew in the middle of a clip. The motion that a model made is left as it is but for a share of the head's slow sway;
`engine.nano.face_motion` adds the tracks before the head is turned. Knows nothing about pictures, latents or drawing.
The paper's model learns all this from films; nano's is trained on synthetic faces and needs it said.
"""

import hashlib
import re
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from engine.contract.variants import FPS
from engine.nano.voice import Voice

POSE = slice(0, 6)
"""Yaw, pitch, roll in radians, x, y in face heights, scale as a logarithm: `engine.nano.face_motion.SLOTS`'s order."""
CLOSING, DROOP, GAZE, BROWS, CORNERS, BODY = 6, 7, slice(8, 10), slice(10, 12), slice(12, 14), slice(14, 16)
TRACKS = 16

YAW_DEG, PITCH_DEG, ROLL_DEG = 5.8, 3.4, 3.2
"""Typical distance of where the head comes to rest between its moves; it moves every second or two while it speaks."""
MOST_DEG = (11.0, 6.5, 6.0)
CROSSES = 0.8
"""How often a move goes over to the other side of the picture's own pose."""
MOVE_S = (0.55, 1.1)
LISTENING = 0.35
"""Size of moves in silence, and how much rarer they are."""
NOD_DEG = (1.2, 2.8)
BLINK_S, BLINK_SPREAD, BLINK_LEAST_S, BLINK_MOST_S = 3.4, 0.4, 1.5, 5.5
"""Gaps of blinks are log-normal: median, deviation of the logarithm, and bounds."""
BLINK_COURSE = (0.42, 0.94, 1.0, 1.0, 0.72, 0.38, 0.14)
"""Lids fall faster than they rise: shares of closing, frame by frame."""
FALLS_ON_PAUSE_S = 0.6
EYE_RADIUS_MM = 12.0
HELD_GAZE = 0.65
"""Share of a head's turn that the eyes take back, to keep looking where they looked."""
BREATH_S = (3.2, 4.6)
EASE_FRAMES = 12
TAKE_EASE_FRAMES = 8

STILL_WORDS = frozenset({"still", "motionless", "minimal", "frozen", "stiff"})
SWING_WORDS = frozenset({"nodding", "nod", "nods", "shaking", "shake", "shakes", "tilting", "tilt", "tilts", "tilted"})
LIVELY_WORDS = frozenset({"lively", "energetic", "expressive", "animated"})
BLINK_WORDS = frozenset({"blink", "blinks", "blinking"})
NO_WORDS = frozenset({"no", "not", "never", "without", "dont", "doesnt", "stop", "avoid"})
RARE_WORDS = frozenset({"rarely", "seldom", "less", "few", "little", "slowly", "too"})
OFTEN_WORDS = frozenset({"often", "frequently", "much", "more", "fast", "quickly", "rapidly", "lots"})
WORDS = STILL_WORDS | SWING_WORDS | LIVELY_WORDS | BLINK_WORDS | {"unblinking"}
"""What `manner` listens to."""


@dataclass(frozen=True)
class Manner:
    """How a prompt wants the face to live. Sizes are factors, 1 for a quiet speaker."""

    head: float = 1.0
    own_sway: float = 0.4
    """Share of the model's own head motion that is kept."""
    nods: float = 1.0
    blink_gap: float = 1.0
    """Factor of the gaps between blinks; infinite for none."""


def manner(prompt: str) -> Manner:
    """The words of `prompt` that speak of head and lids; the last clause with "blink" in it decides about blinks."""
    text = prompt.lower().replace("’", "'").replace("'", "")
    words = set(re.findall(r"[a-z]+", text))
    chosen = Manner()
    if words & STILL_WORDS:
        chosen = Manner(head=0.06, own_sway=1.0, nods=0.0)
    elif words & SWING_WORDS:
        chosen = Manner(head=0.3, own_sway=1.0, nods=0.0)
    elif words & LIVELY_WORDS:
        chosen = Manner(head=1.3, own_sway=0.7, nods=1.2)
    return replace(chosen, blink_gap=_blink_gap(text))


def _blink_gap(text: str) -> float:
    clauses = [set(re.findall(r"[a-z]+", clause)) for clause in re.split(r"[,.;:!?]| and | but ", text)]
    gap = 1.0
    for clause in clauses:
        if "unblinking" in clause:
            gap = np.inf
        elif clause & BLINK_WORDS:
            denied, often = clause & NO_WORDS, clause & OFTEN_WORDS
            if denied and not often and not clause & RARE_WORDS:
                gap = np.inf
            elif denied or clause & RARE_WORDS:
                gap = 1.5
            elif often:
                gap = 0.6
            else:
                gap = 0.8
    return gap


@dataclass(frozen=True)
class Life:
    """`tracks` [F, 16]: what is added to a face at 25 frames per second, by the column names above.

    Closing is a share of the lids' opening; droop, gaze (x, y), brows and corners (right, left, up) are in mm of a
    face whose outer eye corners are 90 apart; body is how far the shoulders move, x and y in face heights.
    """

    tracks: np.ndarray
    own_sway: float = 1.0

    @classmethod
    def none(cls, num_frames: int) -> "Life":
        """A face left as it is."""
        return cls(np.zeros((num_frames, TRACKS)))

    def part(self, start: int, stop: int) -> "Life":
        """Frames [start, stop), the last one held where the tracks are shorter."""
        return replace(self, tracks=self.tracks[np.minimum(np.arange(start, stop), len(self.tracks) - 1)])

    def settling(self, num_frames: int) -> "Life":
        """The same, dying away until nothing is left in frame `num_frames` - 1."""
        left = np.clip((num_frames - 1 - np.arange(len(self.tracks))) / EASE_FRAMES, 0, 1)
        return replace(self, tracks=self.tracks * _ease(left)[:, None])

    def retaken(self, other: "Life", start: int, stop: int) -> "Life":
        """`other` in frames [start, stop), eased in and out within them."""
        at = np.arange(len(self.tracks))
        ramp = max(1, min(TAKE_EASE_FRAMES, (stop - start) // 2))
        weight = _ease(np.clip(np.minimum(at - start, stop - 1 - at) / ramp, 0, 1))[:, None]
        return replace(self, tracks=self.tracks * (1 - weight) + other.tracks * weight)


def key_of(portrait_sha256: str, voice_sha256: str, seed: int) -> int:
    """One number for a portrait, a voice and a seed: another of any gives another life."""
    return int.from_bytes(hashlib.sha256(f"{portrait_sha256} {voice_sha256} {seed}".encode()).digest()[:8])


def live(voice: Voice, wanted: Manner, key: int) -> Life:
    """The tracks of a face that says `voice`, one row per frame of it. Frame 0 is the face at rest."""
    random = {name: np.random.default_rng([key, n]) for n, name in enumerate(("head", "nods", "lids", "eyes", "face"))}
    tracks = np.zeros((len(voice.speaking), TRACKS))
    head_deg = _head(voice, random["head"]) * wanted.head
    head_deg[:, 1] += _nods(voice, random["nods"]) * wanted.nods
    tracks[:, :3] = np.radians(head_deg)
    breath = _breath(len(tracks), random["face"])
    lean = 0.011 * _wander(len(tracks), 0.9, random["head"]) * max(wanted.head, 0.15) + 0.0012 * head_deg[:, 2]
    tracks[:, 14], tracks[:, 15] = lean, -0.012 * breath
    tracks[:, 3], tracks[:, 4] = 1.1 * lean, -0.0045 * breath
    tracks[:, 1] -= np.radians(0.35) * breath * min(1.0, wanted.head + 0.1)
    tracks[:, GAZE] = _gaze(voice, head_deg, random["eyes"])
    tracks[:, DROOP] = 0.8 * tracks[:, 9] + 0.75 * _wander(len(tracks), 0.35, random["lids"])
    tracks[:, CLOSING] = _blinks(voice, wanted.blink_gap, random["lids"])
    _stir(tracks, voice, random["face"])
    tracks *= _ease(np.clip(np.arange(len(tracks)) / EASE_FRAMES, 0, 1))[:, None]
    return Life(tracks, wanted.own_sway)


def _ease(share: np.ndarray) -> np.ndarray:
    return share * share * (3 - 2 * share)


def _moved(frames: int, at: float, length: float) -> np.ndarray:
    """0 before frame `at`, 1 from `length` frames on, at the least jerk between: [frames]."""
    t = np.clip((np.arange(frames) - at) / length, 0, 1)
    return t**3 * (10 - 15 * t + 6 * t * t)


def _add_move(track: np.ndarray, at: float, length: float, change: np.ndarray | float) -> None:
    """Add a move by `change` to `track` [F] or [F, n], from frame `at` on; what is before stays untouched."""
    start = max(0, int(at))
    step = _moved(len(track) - start, at - start, length)
    track[start:] += step[:, None] * change if track.ndim == 2 else step * change


def _bump(track: np.ndarray, at: float, course: tuple[float, float, float], size: float) -> None:
    """Add a rise by `size` from frame `at` on; `course` is how many frames it rises, holds and falls."""
    up, hold, down = course
    start, stop = max(0, int(at)), min(len(track), int(at + up + hold + down) + 2)
    if start < stop:
        count = stop - start
        shape = _moved(count, at - start, up) - _moved(count, at - start + up + hold, down)
        track[start:stop] += size * shape


def _wander(frames: int, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit deviation whose turns take about `seconds`."""
    sigma = seconds * FPS / 2
    noise = gaussian_filter1d(random.normal(size=frames + 8 * int(sigma + 1)), sigma)[4 * int(sigma + 1) :][:frames]
    return noise * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def _head(voice: Voice, random: np.random.Generator) -> np.ndarray:
    """Yaw, pitch and roll in degrees: from one resting place to the next, at phrases' beginnings and within them."""
    frames = len(voice.speaking)
    head, here = np.zeros((frames, 3)), np.zeros(3)
    spread = np.array([YAW_DEG, PITCH_DEG, ROLL_DEG])
    sides = random.choice([-1.0, 1.0], 3)
    starts = [phrase[0] for phrase in voice.phrases]
    at = 2.0 + random.uniform(0, 8)
    while at < frames:
        speaks = float(voice.speaking[int(at) :][: FPS // 2].max())
        size = LISTENING + (1 - LISTENING) * speaks
        sides = np.where(random.random(3) < CROSSES, -sides, sides)
        there = np.clip(sides * random.uniform(0.5, 1.35, 3) * spread * size, -np.array(MOST_DEG), MOST_DEG)
        far = min(1.0, float(np.linalg.norm(there - here)) / 8)
        takes_s = (MOVE_S[0] + (MOVE_S[1] - MOVE_S[0]) * far) * random.uniform(0.85, 1.25)
        _add_move(head, at, FPS * takes_s, there - here)
        here = there
        gap = FPS * float(np.clip(random.lognormal(np.log(1.15), 0.35), 0.6, 2.4)) / (0.4 + 0.6 * speaks)
        # A phrase that begins soon is what the next move waits for.
        soon = [start for start in starts if at + 0.5 * gap < start < at + 1.6 * gap]
        at = soon[0] - random.uniform(0, 4) if soon else at + gap
    tremble = [0.1 * _wander(frames, 0.45, random) for _ in range(3)]
    return head + np.stack(tremble, 1) * (0.3 + 0.7 * voice.speaking[:, None])


def _nods(voice: Voice, random: np.random.Generator) -> np.ndarray:
    """Pitch in degrees, down: with stressed syllables, and slower where a phrase ends."""
    pitch, last = np.zeros(len(voice.speaking)), -FPS
    for at, strength in voice.stresses:
        wants, size = random.random(), random.uniform(*NOD_DEG)
        if wants < 0.3 + 0.4 * strength and at - last > 0.8 * FPS:
            _bump(pitch, at - 4.5, (5, 0, random.uniform(8, 11)), size * (0.5 + 0.5 * strength))
            last = at
    for _, stop in voice.phrases:
        wants, size = random.random(), random.uniform(*NOD_DEG)
        if wants < 0.7:
            _bump(pitch, stop - 6, (8, 2, 16), size)
    return pitch


def _blinks(voice: Voice, gap: float, random: np.random.Generator) -> np.ndarray:
    """The lids' closing in [0, 1]; near a pause or a phrase's end the blink waits for it."""
    closing = np.zeros(len(voice.speaking))
    if not np.isfinite(gap):
        return closing
    ends = np.array([stop for _, stop in voice.phrases], float)
    at = FPS * random.uniform(0.8, 3.2) * max(1.0, gap)
    while at < len(closing):
        near = ends[np.abs(ends - at) < FALLS_ON_PAUSE_S * FPS]
        depth, on_pause = random.uniform(0.94, 1.0), random.random() < 0.7
        frame = int(near[0] if len(near) and on_pause else at)
        for offset, share in enumerate(BLINK_COURSE):
            if 0 <= frame + offset < len(closing):
                closing[frame + offset] = max(closing[frame + offset], depth * share)
        seconds = np.clip(random.lognormal(np.log(BLINK_S), BLINK_SPREAD), BLINK_LEAST_S, BLINK_MOST_S) * gap
        at = max(at, frame) + FPS * seconds
    return closing


def _gaze(voice: Voice, head_deg: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Where the irises stand, x and y in mm: on the viewer, glancing away, trembling, held while the head turns."""
    frames = len(head_deg)
    look = np.zeros((frames, 2))
    here, at, away = np.zeros(2), FPS * random.uniform(0.6, 1.5), False
    while at < frames:
        away = not away and random.random() < 0.35 + 0.3 * float(voice.speaking[int(at)])
        there = random.normal(0, 1, 2) * ((6.0, 2.6) if away else (0.7, 0.5))
        there = np.clip(there, (-10, -4), (10, 4))
        # A saccade takes one frame, a large one two.
        _add_move(look, at, 1.0 + 0.1 * float(np.linalg.norm(there - here)), there - here)
        here = there
        at += FPS * (random.uniform(0.35, 0.9) if away else random.lognormal(np.log(0.8), 0.5))
    look[:, 0] -= HELD_GAZE * head_deg[:, 0]
    look[:, 1] -= HELD_GAZE * head_deg[:, 1]
    return EYE_RADIUS_MM * np.sin(np.radians(np.clip(look, (-13, -7), (13, 7))))


def _breath(frames: int, random: np.random.Generator) -> np.ndarray:
    """0 breathed out, 1 in; in takes two fifths of a breath."""
    breath, at = np.zeros(frames), -FPS * random.uniform(0, BREATH_S[0])
    while at < frames:
        length, size = FPS * random.uniform(*BREATH_S), random.uniform(0.7, 1.0)
        _bump(breath, at, (0.4 * length, 0, 0.6 * length), size)
        at += length
    return breath


def _stir(tracks: np.ndarray, voice: Voice, random: np.random.Generator) -> None:
    """Brows on stress and at phrases' beginnings, corners that drift: never quite the same on both sides."""
    frames = len(tracks)
    both = np.zeros(frames)
    last = -FPS
    for at, strength in voice.stresses:
        wants, size = random.random(), random.uniform(4.0, 6.4)
        if wants < 0.35 + 0.4 * strength and at - last > 0.6 * FPS:
            course = (6, random.uniform(1, 5), random.uniform(8, 14))
            _bump(both, at - 6, course, size * (0.5 + 0.5 * strength))
            last = at
    for start, _ in voice.phrases:
        if random.random() < 0.5:
            _bump(both, start - 4, (6, random.uniform(2, 8), 14), random.uniform(2.0, 4.0))
    both = gaussian_filter1d(6.5 * np.tanh(both / 6.5), 1.2)
    drift, apart = 0.5 * _wander(frames, 2.0, random), 0.35 * _wander(frames, 1.6, random)
    lean = 1 + 0.15 * random.normal()
    tracks[:, 10], tracks[:, 11] = both * lean + drift + apart, both * (2 - lean) + drift - apart
    # A mood that was asked for is not frowned away.
    smile = np.maximum(1.5 * _wander(frames, 2.2, random), -0.5)
    skew = 0.9 * _wander(frames, 1.6, random)
    # A mood comes slowly: from the picture's own corners, in a second and a half.
    begun = _ease(np.clip(np.arange(frames) / (3 * EASE_FRAMES), 0, 1))
    tracks[:, 12], tracks[:, 13] = begun * (smile + skew), begun * (smile - skew)
