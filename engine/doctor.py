"""What this machine has and what it lacks: `python -m engine doctor`.

Every check really loads what it names, since a library that is installed may still not start.
"""

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from engine.contract.variants import NANO, VARIANTS

MIN_FREE_GB = 1.0


def examine() -> int:
    """Print one line for each thing that is needed; 0 if all are there, else 1."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", _python),
        ("torch", _torch),
        ("video and sound", _ffmpeg),
        ("face detection", _mediapipe),
        ("drawing", _skia),
        ("nano model", _nano),
        ("released models", _released),
        ("memory", _memory),
        ("disk", _disk),
    ]
    lacking = 0
    for name, check in checks:
        try:
            state, found = "ok", check()
        except Exception as error:  # whatever it is, it is the finding
            state, found = "MISSING", f"{error} ({type(error).__name__})".replace("\n", " ")
            lacking += 1
        print(f"{state:8} {name:16} {found}")
    print("Everything is there." if not lacking else f"{lacking} missing: run `make studio` once more to install.")
    return 1 if lacking else 0


def _python() -> str:
    version = platform.python_version_tuple()
    if not (3, 11) <= (int(version[0]), int(version[1])) <= (3, 12):
        raise RuntimeError(f"Python 3.11 or 3.12 is needed; this is {platform.python_version()}")
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _torch() -> str:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU, none is needed for nano"
    return f"{torch.__version__}, {torch.get_num_threads()} threads, {gpu}"


def _ffmpeg() -> str:
    import av

    for codec in ("libx264", "aac"):
        av.Codec(codec, "w")
    return f"PyAV {av.__version__} with FFmpeg {av.ffmpeg_version_info}, libx264 and aac"


def _mediapipe() -> str:
    import mediapipe

    return f"MediaPipe {mediapipe.__version__}"


def _skia() -> str:
    import skia

    return f"skia-python {skia.__version__}"


def _nano() -> str:
    if not NANO.is_installed:
        raise RuntimeError(f"no model in {NANO.folder}")
    megabytes = sum(file.stat().st_size for file in NANO.folder.iterdir() if file.is_file()) / 1e6
    return f"{NANO.folder}, {megabytes:.0f} MB"


def _released() -> str:
    return ", ".join(
        f"{variant.name} in {variant.folder}" if variant.is_installed else f"{variant.name} not downloaded, optional"
        for variant in VARIANTS.values()
        if not variant.is_nano
    )


def _memory() -> str:
    from engine.wan.devices import best_precision, device_for
    from engine.wan.memory import GB, free_bytes

    device = device_for()
    return f"{free_bytes(device, 0) / GB:.1f} GB free on the {device.type}, which computes in {best_precision(device)}"


def _disk() -> str:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    if free_gb < MIN_FREE_GB:
        raise RuntimeError(f"{free_gb:.1f} GB free here; videos and their work need {MIN_FREE_GB:g} GB")
    return f"{free_gb:.0f} GB free here"
