"""The most memory that a job needs, against its length: fresh processes, whole jobs from files to a file."""

from goals.engine.jobs import run_apart
from goals.goal import Place, Row, at_most

SHORT_S, LONG_S = 4.0, 64.0
MEBI = 2**20


def pixels(place: Place) -> list[Row]:
    """The pixel path in float32 on tiny weights: bytes per pixel-frame, and the long clip over the short one."""
    short, long = (run_apart("pixels", seconds, place.examples) for seconds in (SHORT_S, LONG_S))
    pixel_frames = long.pixels * (long.frames - short.frames)
    slope = (long.peak_bytes - short.peak_bytes) / pixel_frames
    return [
        at_most(
            "memory against length, pixel path on the CPU (host and device are one), fp32",
            slope,
            2.5,
            unit=" bytes per pixel-frame",
        ),
        _ratio("tiny Wan autoencoder and transformer", short.peak_bytes, long.peak_bytes),
    ]


def nano(place: Place) -> list[Row]:
    """Nano at 640×1138."""
    short, long = (run_apart("nano", seconds, place.examples) for seconds in (SHORT_S, LONG_S))
    return [_ratio("nano at 640×1138", short.peak_bytes, long.peak_bytes)]


def _ratio(what: str, short: int, long: int) -> Row:
    more = f" ({short / MEBI:.0f} → {long / MEBI:.0f} MiB)"
    return at_most(f"peak memory, 64 s over 4 s, {what}", long / short, 1.10, ".3f", unit="×", more=more)
