"""Clips that show and say the same: re-uploads, other sizes, other cuts of one recording.

Stages leave each clip's `picture_hash` and `sound_track`; which clips are copies is a pure function of all of them, and
so comes once all clips are through. Pictures alone are not enough: a speaker's clips look alike from the first to the
last. A copy has near-equal perceptual hashes (ImageHash's phash, the majority of each bit over the clip) and the same
sound, moved by any number of frames. Of copies the largest picture stays, then the first by `id`.
"""

from itertools import combinations

import imagehash
import numpy as np
from PIL import Image

from trainer.metrics.speech_tracks import band_log_energy_db
from trainer.prepare.clip import clip_voice
from trainer.prepare.rows import Row, Stage, Workshop

MAX_HASH_DISTANCE = 7
"""Of 64 bits. Eight groups of eight bits: clips that near have at least one group in common, so only those are compared
that do."""
MIN_SOUND_R = 0.9
MIN_OVERLAP = 0.5
"""Of the shorter clip."""


def picture_bits(frame: np.ndarray) -> np.ndarray:
    """The perceptual hash of a frame, uint8 RGB [H, W, 3]: bool [64]."""
    return imagehash.phash(Image.fromarray(frame)).hash.flatten()


def majority(hashes: list[np.ndarray]) -> str:
    """The bits that more than half of `hashes` have, as 16 hexadecimal digits: a clip's `picture_hash`."""
    return np.packbits(np.mean(hashes, axis=0) > 0.5).tobytes().hex()


def _sound(row: Row, workshop: Workshop) -> Row:
    """`sound_track`: the speech band's level in dB under its loudest, 25 a second."""
    track = band_log_energy_db(clip_voice(row, workshop))
    return {"sound_track": np.round(track - track.max(initial=0.0), 1).tolist()}


SOUND_STAGE = Stage("sound", 1, _sound)


def find_duplicates(clips: list[Row]) -> dict[str, str]:
    """The `id` of every clip that is a copy, and of the clip it is a copy of."""
    best_first = sorted(clips, key=lambda row: (-row["width_px"] * row["height_px"], row["id"]))
    hashes = np.array([list(bytes.fromhex(row["picture_hash"])) for row in best_first], np.uint8).reshape(-1, 8)
    pairs: set[tuple[int, int]] = set()
    for group in range(8):
        order = np.argsort(hashes[:, group], kind="stable")
        borders = np.flatnonzero(np.diff(hashes[order, group])) + 1
        for alike in np.split(order, borders):
            pairs |= {(min(a, b), max(a, b)) for a, b in combinations(alike.tolist(), 2)}
    copies: dict[str, str] = {}
    for one, other in sorted(pairs):
        first, second = best_first[one], best_first[other]
        if first["id"] in copies or second["id"] in copies:
            continue
        distance = int(np.unpackbits(hashes[one] ^ hashes[other]).sum())
        if distance <= MAX_HASH_DISTANCE and same_sound(first["sound_track"], second["sound_track"]):
            copies[second["id"]] = first["id"]
    return copies


def same_sound(one: list[float], other: list[float]) -> bool:
    """Whether two tracks of levels go alike, one of them moved by any number of frames, where they overlap by half."""
    long, short = (np.array(track) for track in sorted((one, other), key=len, reverse=True))
    least = max(2, int(np.ceil(MIN_OVERLAP * len(short))))
    for shift in range(least - len(short), len(long) - least + 1):
        begin, end = max(0, shift), min(len(long), shift + len(short))
        a, b = long[begin:end], short[begin - shift : end - shift]
        a, b = a - a.mean(), b - b.mean()
        scale = np.sqrt((a @ a) * (b @ b))
        if scale > 0 and float(a @ b) / scale >= MIN_SOUND_R:
            return True
    return False
