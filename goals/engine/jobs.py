"""Whole jobs for measuring, each small enough to be made in seconds: a request, a model, a length.

`python -m goals.engine.jobs` runs one of them in a process of its own and prints what it cost, since the highest
memory of a process never falls again.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile

from engine.media.audio import SAMPLE_RATE_HZ, read_audio

PARITY = Path(__file__).parents[2] / "tests" / "parity" / "data"
Model = Literal["nano", "pixels"]
PIXELS: dict[str, Any] = {
    "sampling.size_px": 128,
    "sampling.steps": 2,
    "long_video.window_latent_frames": 7,
    "long_video.overlap_latent_frames": 1,
}
"""The pixel path so small that a core can do it; windows share as much of their frames as the default's."""


RETURNED_BYTES = 2**18
"""Freed blocks from this size up go back to the system at once, so that a peak is what a job holds and not what the C
library keeps, which varies by a hundred MiB from run to run."""


@dataclass(frozen=True)
class Cost:
    """What a job took: seconds of the processor and of the clock, and the most memory, of its process."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    frames: int
    pixels: int
    """Of a generated frame."""
    seconds: dict[str, float]
    """Wall time of each stage."""


def voice(examples: Path, seconds: float) -> np.ndarray:
    """The examples' speech, again and again for `seconds`, float32 mono at 16 kHz."""
    speech = np.concatenate([read_audio(path) for path in sorted(examples.glob("*.wav"))])
    samples = round(seconds * SAMPLE_RATE_HZ)
    return np.tile(speech, -(-samples // len(speech)))[:samples]


def portrait_of(examples: Path, size_wh: tuple[int, int], folder: Path) -> Path:
    """A portrait of the examples, exactly `size_wh` large: one that is, or else the first one, scaled."""
    from PIL import Image

    portraits = sorted(examples.glob("*.jpg"))
    for path in portraits:
        with Image.open(path) as image:
            if image.size == size_wh:
                return path
    with Image.open(portraits[0]) as image:
        image.resize(size_wh).save(folder / "portrait.png")
    return folder / "portrait.png"


def peak_bytes() -> int:
    """The most memory that this process has held. Linux hands `ru_maxrss` on to a child, so that a small one that a
    large one starts seems large; what /proc says begins anew with the program."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(model: Model, seconds: float, examples: Path, settings: dict[str, Any]) -> Cost:
    """One talking-head job in this process, from files to a file."""
    from engine.contract.request import build_request
    from engine.session import Session

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "voice.wav", voice(examples, seconds), SAMPLE_RATE_HZ)
        size = (640, 1138) if model == "nano" else (512, 512)
        chosen = "nano"
        if model == "pixels":
            from tests.released_layout import write_released_model

            chosen = str(write_released_model(folder / "preview", "preview", PARITY))
            settings = PIXELS | settings
        request = build_request(
            {
                "image": portrait_of(examples, size, folder),
                "audio": folder / "voice.wav",
                "model": chosen,
                "seed": 0,
                "out": folder / "out.mp4",
            },
            settings,
        )
        session = Session()
        if model == "nano":
            session.warm_up(chosen)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        record = session.generate(request)
    return Cost(
        cpu_s=time.process_time() - cpu_s,
        wall_s=time.perf_counter() - wall_s,
        peak_bytes=peak_bytes(),
        frames=record.num_frames,
        pixels=record.width_px * record.height_px,
        seconds=record.seconds,
    )


def run_apart(model: Model, seconds: float, examples: Path, settings: dict[str, Any] | None = None) -> Cost:
    """The same in a fresh process."""
    command = [sys.executable, "-m", "goals.engine.jobs", model, str(seconds), str(examples)]
    done = subprocess.run(
        [*command, json.dumps(settings or {})],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(RETURNED_BYTES)},
    )
    if done.returncode:
        raise RuntimeError(f"the job {model}, {seconds:g} s, failed: {done.stderr.strip()[-500:]}")
    return Cost(**json.loads(done.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    which, length, folder, given = sys.argv[1:]
    print(json.dumps(asdict(run(which, float(length), Path(folder), json.loads(given)))))  # type: ignore[arg-type]
