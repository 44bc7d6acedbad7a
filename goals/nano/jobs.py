"""The real engine on the examples: every portrait with every speech clip, and whole jobs against the clock.

The portraits and the speech are never used for training or tuning.
"""

import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import soundfile

from engine.contract.errors import UserError
from engine.contract.request import build_request
from engine.media.audio import SAMPLE_RATE_HZ, read_audio
from engine.media.picture import read_picture
from engine.session import Session
from goals.nano.clip import ClipJob, Portrait, audio_frames, measure_clip, with_silence
from goals.nano.rows import ClipMeasurement, TimedRun

FIRST_SEED = 101
TIMED_SIZE_WH = (640, 1138)
TIMED_AUDIO_S = 6.5
TIMED_RUNS = 3
ENGLISH_SPEECH = ("speech_2025-07-14-3927",)


def find_jobs(examples: Path, videos: Path, english: list[str]) -> Iterator[ClipJob]:
    """Every portrait with every speech clip of the folder, each with its own seed. Raises UserError without any."""
    portraits = sorted(examples.glob("*.jpg"))
    speech = sorted(examples.glob("*.wav"))
    if not portraits or not speech:
        raise UserError(
            f"The examples folder {examples} holds {len(portraits)} .jpg portraits and {len(speech)} .wav clips; both "
            "are needed, give the folder with --examples or ECHOMIMIC_EXAMPLES.",
            "examples",
        )
    for path in portraits:
        portrait = Portrait(path)
        for number, clip in enumerate(speech):
            seed = FIRST_SEED + len(speech) * portraits.index(path) + number
            yield ClipJob(portrait, clip, clip.stem in english, seed, videos)


def prove_clip(session: Session, job: ClipJob, model: str) -> ClipMeasurement:
    """Make both videos of `job` and measure them. A job that fails stands in the table with its error."""
    print(f"{job.name} (seed {job.seed})", flush=True)
    job.video.unlink(missing_ok=True)
    job.video_with_silence.unlink(missing_ok=True)
    voice = read_audio(job.speech)
    try:
        generate(session, job, model, job.speech, job.video)
        with tempfile.TemporaryDirectory() as folder:
            longer = Path(folder) / f"{job.speech.stem}.wav"
            soundfile.write(longer, with_silence(voice), SAMPLE_RATE_HZ)
            generate(session, job, model, longer, job.video_with_silence)
    except Exception as error:  # a crash is one of the outcomes that are counted
        return ClipMeasurement(
            job.portrait.path.stem,
            job.speech.stem,
            job.seed,
            audio_frames(voice),
            error=f"{type(error).__name__}: {error}",
        )
    return measure_clip(job)


def generate(session: Session, job: ClipJob, model: str, audio: Path, out: Path) -> None:
    """One job with every setting at the model's default."""
    values = {"image": job.portrait.path, "audio": audio, "model": model, "seed": job.seed, "out": out}
    session.generate(build_request(values))


def timed_runs(session: Session, jobs: list[ClipJob], model: str) -> list[TimedRun]:
    """Whole jobs against the clock: a 640×1138 portrait, the clip nearest to 6.5 s, model loaded.

    Empty where no portrait has that size.
    """
    fitting = [job for job in jobs if read_picture(job.portrait.path).shape[1::-1] == TIMED_SIZE_WH]
    if not fitting:
        return []
    job = min(fitting, key=lambda job: abs(audio_s(job.speech) - TIMED_AUDIO_S))
    clip_s = audio_s(job.speech)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(TIMED_RUNS):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            generate(session, job, model, job.speech, Path(folder) / "timed.mp4")
            runs.append(TimedRun((time.perf_counter() - wall_s) / clip_s, (time.process_time() - cpu_s) / clip_s))
    return runs


def audio_s(path: Path) -> float:
    """Length of a sound file in seconds."""
    return len(read_audio(path)) / SAMPLE_RATE_HZ


def machine() -> str:
    """The processor and how busy it was, for the numbers that are times."""
    names = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    load = os.getloadavg()[1]
    return f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}, load average {load:.1f}"


def _cpu_info() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.is_file() else []
