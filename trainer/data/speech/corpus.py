"""The speech corpus on disk: tracks of a few sentences and pauses, with the mouth curves of every video frame.

A track is made from (seed, split, index) alone, so the corpus is the same however many processes make it. Splits:

    train            espeak variants, flite slt, awb, kal and kal16
    heldout_voice    espeak variants never trained on, every tenth of the list
    heldout_rms      flite rms: a recorded voice never trained on
    heldout_ked      festival ked: a voice and an engine never trained on
    heldout_text     voices of `train`, sentences of their own

Layout of a split's folder: waves.npy int16 [samples], or waves.opus, unpacked when it is read; curves.npy float16
[frames, 5] (`visemes.CURVES`) at 25 fps; index.json with each track's first frame, frame count and voice; 640 samples
are one frame.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
import soxr

from engine.contract.errors import UserError
from engine.contract.unlearning import CURVES_NAME, INDEX_NAME, PACKED_WAVES_NAME, WAVES_NAME
from engine.contract.variants import FPS
from engine.media.audio import read_audio
from trainer.data.speech.espeak import espeak, variants
from trainer.data.speech.recorded import say_with_festival, say_with_flite
from trainer.data.speech.sentences import LANGUAGES, english_sentence, foreign_sentence
from trainer.data.speech.utterance import SAMPLE_RATE_HZ, SILENCE, Phone, Utterance
from trainer.data.speech.visemes import mouth_curves

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS
SPLITS = ("train", "heldout_voice", "heldout_rms", "heldout_ked", "heldout_text")
TRACK_S = 9.0
ENGLISH = ("en-us", "en-us", "en", "en-gb-scotland")
PACKED_BITS_PER_S = 24_000
PACKED_MOST_S = 4 * 3600.0
_FESTIVAL_BATCH = 20
_SUNG_SHARE = 0.1
"""Of the tracks by espeak's voices that are trained on."""
_MAJOR = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of a major scale's steps."""


@dataclass(frozen=True)
class Track:
    """`wave` float32 [640 * frames], `curves` float32 [frames, 5] sampled at the middle of each frame, `phones` in
    order, which cover it and may go on behind its end."""

    wave: np.ndarray
    curves: np.ndarray
    voice: str
    phones: tuple[Phone, ...]


def make_track(seed: int, split: str, index: int) -> Track:
    """Sentences by one voice until TRACK_S is full, with pauses before, between and behind them."""
    random = np.random.default_rng([seed, SPLITS.index(split), index])
    if split == "train" and random.random() < 0.03:
        return _assemble([Utterance(np.zeros(1, np.float32), (Phone(SILENCE, 0.0, 1e-4),), "silence")], random)
    speak = _speaker(split, random)
    said, length_s = [], 0.0
    while length_s < TRACK_S:
        said.append(_resampled(speak(), random, split))
        length_s += len(said[-1].wave) / SAMPLE_RATE_HZ
    return _assemble(said, random)


def _speaker(split: str, random: np.random.Generator):
    """A function that says one more sentence in this track's voice."""
    stretch = float(random.uniform(0.8, 1.25))
    if split == "heldout_rms":
        return lambda: say_with_flite(english_sentence(random), "rms", stretch=stretch)
    if split == "heldout_ked":
        return lambda: _festival_sentence(random)
    if split != "heldout_voice" and random.random() < 0.35:
        voice = str(random.choice(["slt", "awb", "kal", "kal16"], p=[0.4, 0.4, 0.1, 0.1]))
        return lambda: say_with_flite(english_sentence(random), voice, stretch=stretch)
    held_out, known = variants()[::10], [name for i, name in enumerate(variants()) if i % 10]
    variant = str(random.choice(held_out if split == "heldout_voice" else known))
    foreign = random.random() < 0.35
    language = str(random.choice(LANGUAGES if foreign else ENGLISH))
    if split == "train" and random.random() < _SUNG_SHARE:
        return lambda: _song(f"{random.choice(ENGLISH)}+{variant}", random)
    manner = {
        "rate_wpm": int(random.integers(120, 230)),
        "pitch": int(random.integers(15, 90)),
        "pitch_range": int(random.integers(20, 90)),
    }

    def say() -> Utterance:
        text = foreign_sentence(language, random) if foreign else english_sentence(random)
        return espeak().say(text, f"{language}+{variant}", **manner)

    return say


def _song(voice: str, random: np.random.Generator) -> Utterance:
    """A sentence sung: a tune that wanders over a major scale, a note for each word."""
    words = english_sentence(random).split(" ")
    steps = np.cumsum(random.integers(-2, 3, len(words))) + random.integers(-4, 5)
    notes = [int(12 * (step // 7) + _MAJOR[step % 7]) for step in np.clip(steps, -7, 7)]
    return espeak().sing(words, notes, voice, rate_wpm=int(random.integers(80, 121)))


@cache
def _festival_batch(seed: int) -> tuple[Utterance, ...]:
    random = np.random.default_rng(seed)
    return tuple(say_with_festival([english_sentence(random) for _ in range(_FESTIVAL_BATCH)], "ked_diphone"))


def _festival_sentence(random: np.random.Generator) -> Utterance:
    return _festival_batch(int(random.integers(8)))[random.integers(_FESTIVAL_BATCH)]


def _resampled(utterance: Utterance, random: np.random.Generator, split: str) -> Utterance:
    """Played faster or slower: pitch, formants and times move together. Held-out recorded voices stay as they are."""
    if split in ("heldout_rms", "heldout_ked"):
        return utterance
    speed = float(np.exp(random.normal(0.0, 0.08)))
    wave = soxr.resample(utterance.wave, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ).astype(np.float32)
    phones = tuple(Phone(p.ipa, p.start_s / speed, p.end_s / speed) for p in utterance.phones)
    return Utterance(wave, phones, utterance.voice)


def _assemble(said: list[Utterance], random: np.random.Generator) -> Track:
    waves, phones, clock = [], [], 0.0
    for index, utterance in enumerate(said):
        longest_s = 1.5 if index == 0 else 0.9
        pause = np.zeros(int(random.uniform(0.05, longest_s) * SAMPLE_RATE_HZ), np.float32)
        peak = float(np.abs(utterance.wave).max())
        waves += [pause, utterance.wave * (0.5 / peak) if peak > 0 else utterance.wave]
        start_s = clock + len(pause) / SAMPLE_RATE_HZ
        phones.append(Phone(SILENCE, clock, start_s))
        phones += [Phone(p.ipa, start_s + p.start_s, start_s + p.end_s) for p in utterance.phones]
        clock = start_s + len(utterance.wave) / SAMPLE_RATE_HZ
    tail_s = TRACK_S / 2 if said[0].voice == "silence" else random.uniform(0.5, 2.0)
    frames = int((clock + tail_s) * FPS)
    phones.append(Phone(SILENCE, clock, frames / FPS + 0.5))
    wave = np.concatenate([*waves, np.zeros(frames * SAMPLES_PER_FRAME, np.float32)])[: frames * SAMPLES_PER_FRAME]
    times_s = (np.arange(frames) + 0.5) / FPS
    return Track(wave, mouth_curves(tuple(phones), times_s), said[0].voice, tuple(phones))


def _make(job: tuple[int, str, int]) -> Track:
    return make_track(*job)


def synthesize(folder: Path, hours: float, seed: int, workers: int) -> dict[str, float]:
    """Write the corpus: `hours` of training tracks, twenty minutes of each other split. Returns hours by split."""
    written = {}
    for split in SPLITS:
        wanted = hours if split == "train" else min(hours, 1 / 3)
        count = max(2, round(wanted * 3600 / (TRACK_S + 4)))
        with ProcessPoolExecutor(workers) as pool:
            tracks = list(pool.map(_make, [(seed, split, index) for index in range(count)], chunksize=8))
        written[split] = _write(folder / split, tracks)
    return written


def _write(folder: Path, tracks: list[Track]) -> float:
    folder.mkdir(parents=True, exist_ok=True)
    waves = np.concatenate([track.wave for track in tracks])
    np.save(folder / WAVES_NAME, (np.clip(waves, -1, 1) * 32767).astype(np.int16))
    np.save(folder / CURVES_NAME, np.concatenate([track.curves for track in tracks]).astype(np.float16))
    first, index = 0, []
    for track in tracks:
        index.append({"first_frame": first, "frames": len(track.curves), "voice": track.voice})
        first += len(track.curves)
    (folder / INDEX_NAME).write_text(json.dumps(index))
    return first / FPS / 3600


def pack(wave: np.ndarray, path: Path) -> None:
    """Write int16 [samples] as Opus, a tenth of its size."""
    with av.open(str(path), "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=PACKED_BITS_PER_S)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None]), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)


def unpack(path: Path, samples: int) -> np.ndarray:
    """What `pack` wrote, int16 [samples]. Raises ValueError where it holds something else."""
    try:
        wave = read_audio(path, max_s=PACKED_MOST_S)
    except UserError as error:
        raise ValueError(error.message) from error
    if abs(len(wave) - samples) > SAMPLES_PER_FRAME:
        raise ValueError(f"{path.name} holds {len(wave)} samples, {samples} are wanted")
    whole = np.zeros(samples, np.int16)
    whole[: len(wave)] = (np.clip(wave[:samples], -1, 1) * 32767).astype(np.int16)
    return whole


class Corpus:
    """One split, memory-mapped. Raises UserError where `folder` does not hold one, whole."""

    def __init__(self, folder: Path) -> None:
        try:
            self.curves = np.load(folder / CURVES_NAME, mmap_mode="r")
            self.index = json.loads((folder / INDEX_NAME).read_text())
            packed = folder / PACKED_WAVES_NAME
            samples = SAMPLES_PER_FRAME * len(self.curves)
            unpacked = not packed.is_file()
            self.waves = np.load(folder / WAVES_NAME, mmap_mode="r") if unpacked else unpack(packed, samples)
        except (OSError, ValueError) as error:
            raise UserError(
                f"No whole corpus in {folder} ({error}): make it with python -m trainer synthesize {folder.parent}.",
                "corpus",
            ) from error

    def wave(self, first_frame: int, frames: int) -> np.ndarray:
        """float32 [640 * frames]."""
        samples = self.waves[first_frame * SAMPLES_PER_FRAME : (first_frame + frames) * SAMPLES_PER_FRAME]
        return np.asarray(samples, np.float32) / 32767
