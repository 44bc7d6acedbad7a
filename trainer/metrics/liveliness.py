"""How alive a filmed face is: blinks, head, brows, lips, background, as numbers that real talkers bound on both sides.

Everything is measured on finished frames by FaceMesh (`engine.media.face.track_face`), never on a model's own motion:
positions are taken out of the head's pose, the outer eye corners are 90 mm apart, tracks are at 25 frames per second.
"more" is not better in any of these: a flapping, dancing face leaves the bands as a dead one does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
import scipy.interpolate
import scipy.signal
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from engine.contract.errors import UserError
from engine.contract.variants import FPS
from engine.nano.face_motion import STABLE_POINTS, fit_pose
from trainer.data.faces import mean_face

Track = NDArray[np.floating]

EYE_CORNERS_MM = 90.0
LIDS = ((160, 158, 144, 153), (387, 385, 373, 380))
"""Right and left eye: two upper, two lower points, across from each other in the order (0, 2), (1, 3)."""
BROWS, EYE_CORNERS = ((70, 105, 107, 52), (300, 334, 336, 282)), ((33, 133), (263, 362))
LIPS, CORNERS, UPRIGHT = (13, 14), (61, 291), (168, 6, 197, 195, 5)
MIN_FRAMES = 2 * FPS
POSE_SIGMA_FRAMES = 2
"""FaceMesh's poses tremble by about a degree from frame to frame; heads do not."""
BLINK_DEPTH = 0.35
"""Share of its opening by which a lid must fall: a look down stays above, FaceMesh sees full closures at about .8."""
LONGEST_BLINK_FRAMES = 12
OPENING_MM = 2.0
"""Prominence from which a mouth's opening counts."""
MOST_UNSEEN = 0.1


@dataclass(frozen=True)
class Liveliness:
    """One clip. Angles in degrees, lengths in mm; NaN where there is nothing to measure (no blink has no depth)."""

    blinks_per_min: float
    blink_depth: float
    blink_fwhm_frames: float
    blink_asymmetry: float
    """Mean difference of the two eyes' depths; a wink is near 1."""
    winks: int
    """Closings of one eye in which the other takes less than half a part."""
    lid_sd: float
    """Of the lids' opening outside blinks."""
    brow_range: float
    """From the 2nd to the 98th percentile of the brows' height over the eyes."""
    yaw_sd: float
    pitch_sd: float
    roll_sd: float
    yaw_range: float
    yaw_speed_p95: float
    """Degrees per second."""
    head_jitter: float
    """Root mean square of the second difference of the skull's place, mm."""
    openings_per_s: float
    opening_p90: float
    opening_p99: float
    opening_speed_p95: float
    """Per frame."""
    width_sd: float
    opening_width_r: float
    protrusion_sd: float
    corner_sd: float
    corner_difference_sd: float

    def rows(self) -> dict[str, float]:
        """Every number by its name."""
        return {field.name: float(getattr(self, field.name)) for field in fields(self)}


BANDS: dict[str, tuple[float, float]] = {
    "blinks_per_min": (10, 25),
    "blink_depth": (0.7, 1.1),
    "blink_fwhm_frames": (3, 5),
    "blink_asymmetry": (0, 0.1),
    "winks": (0, 0),
    "lid_sd": (0.4, 1.2),
    "brow_range": (3, 8),
    "yaw_sd": (2, 4),
    "pitch_sd": (1.5, 3),
    "roll_sd": (1.5, 2.5),
    "yaw_range": (9, 26),
    "yaw_speed_p95": (10, 51),
    "openings_per_s": (1.5, 2.4),
    "opening_p90": (10, 15),
    "opening_p99": (0, 20),
    "opening_speed_p95": (2.6, 7),
    "width_sd": (3.5, 8),
    "opening_width_r": (0.2, 1),
    "protrusion_sd": (1.1, 2.5),
    "corner_sd": (1.8, 4),
    "corner_difference_sd": (0.7, 2),
}
"""Where clips should lie: within what real talkers show, for quiet speech to a camera."""


@dataclass(frozen=True)
class FaceTracks:
    """A face over time at 25 frames per second, out of its pose: `shape_mm` [F, 468, 3], `pose` [F, 3] in degrees,
    smoothed, and the skull's `place_mm` [F, 2] in the picture."""

    shape_mm: Track
    pose: Track
    place_mm: Track

    @classmethod
    def of(cls, tracked: Sequence[NDArray[np.floating] | None], fps: float) -> "FaceTracks":
        """From landmarks [468, 3] in pixels at `fps`, None where no face was seen: gaps are drawn straight through.

        Raises UserError for less than two seconds and where a tenth of the frames shows no face.
        """
        seen = np.array([index for index, face in enumerate(tracked) if face is not None])
        if len(seen) < (1 - MOST_UNSEEN) * len(tracked) or len(tracked) / fps * FPS < MIN_FRAMES:
            raise UserError(
                f"A face must be seen for at least {MIN_FRAMES / FPS:g} s and in {1 - MOST_UNSEEN:.0%} of the frames; "
                f"it is seen in {len(seen)} of {len(tracked)}."
            )
        canonical = mean_face()
        shapes, poses, places, per_px_mm = [], [], [], []
        for index in seen:
            face = np.asarray(tracked[index], np.float64)
            rotation, scale_px, origin_px = fit_pose(face, canonical)
            shape = (face - origin_px) @ rotation / scale_px
            per_unit_mm = EYE_CORNERS_MM / np.linalg.norm(shape[33] - shape[263])
            shapes.append(shape * per_unit_mm)
            poses.append(_degrees(rotation))
            places.append(face[STABLE_POINTS, :2].mean(0))
            per_px_mm.append(per_unit_mm / scale_px)
        at = np.arange(round(len(tracked) / fps * FPS)) * fps / FPS
        flat = np.column_stack([np.reshape(shapes, (len(seen), -1)), poses, places])
        even = scipy.interpolate.make_interp_spline(seen, flat, k=1)(np.clip(at, seen[0], seen[-1]))
        pose = gaussian_filter1d(even[:, -5:-2], POSE_SIGMA_FRAMES, axis=0)
        return cls(even[:, :-5].reshape(len(at), 468, 3), pose, even[:, -2:] * np.median(per_px_mm))

    def lids(self) -> Track:
        """Each eye's opening in mm, right and left, [F, 2]."""
        gaps = [(self.shape_mm[:, lids[2:], 1] - self.shape_mm[:, lids[:2], 1]).mean(1) for lids in map(list, LIDS)]
        return np.stack(gaps, 1)

    def brows(self) -> Track:
        """Each brow's height over its eye's corners in mm, right and left, [F, 2]."""
        pairs = zip(map(list, BROWS), map(list, EYE_CORNERS), strict=True)
        return np.stack([(self.shape_mm[:, e, 1].mean(1) - self.shape_mm[:, b, 1].mean(1)) for b, e in pairs], 1)


def liveliness(face: FaceTracks) -> Liveliness:
    """All that is told of one face."""
    lids, seconds = face.lids(), len(face.pose) / FPS
    open_mm = np.median(lids, axis=0)
    shares = 1 - lids / open_mm
    blinks = [_blink(shares, at) for at in _closings(shares.mean(1))]
    alone = [at for eye in range(2) for at in _closings(shares[:, eye]) if _is_wink(shares, at, eye)]
    yaw, pitch, roll = face.pose.T
    opening = face.shape_mm[:, LIPS[1], 1] - face.shape_mm[:, LIPS[0], 1]
    width = face.shape_mm[:, CORNERS[1], 0] - face.shape_mm[:, CORNERS[0], 0]
    corners = face.shape_mm[:, list(CORNERS), 1]
    forward = face.shape_mm[:, list(LIPS), 2].mean(1) - face.shape_mm[:, list(UPRIGHT), 2].mean(1)
    peaks = scipy.signal.find_peaks(opening, prominence=OPENING_MM)[0]
    brows = face.brows().mean(1)
    quiet = np.convolve(shares.mean(1) > BLINK_DEPTH / 2, np.ones(7), mode="same") == 0
    depths = np.array([blink.depths for blink in blinks]).reshape(-1, 2)
    return Liveliness(
        blinks_per_min=60 * len(blinks) / seconds,
        blink_depth=_mean(depths),
        blink_fwhm_frames=_mean([blink.fwhm_frames for blink in blinks]),
        blink_asymmetry=_mean(np.abs(depths[:, 0] - depths[:, 1])),
        winks=len(alone),
        lid_sd=float(lids[quiet].std(0).mean()) if quiet.any() else float("nan"),
        brow_range=float(np.subtract(*np.percentile(brows, [98, 2]))),
        yaw_sd=float(yaw.std()),
        pitch_sd=float(pitch.std()),
        roll_sd=float(roll.std()),
        yaw_range=float(np.ptp(yaw)),
        yaw_speed_p95=float(np.percentile(np.abs(np.diff(yaw)), 95) * FPS),
        head_jitter=float(np.sqrt(np.square(np.diff(face.place_mm, 2, axis=0)).mean())),
        openings_per_s=len(peaks) / seconds,
        opening_p90=float(np.percentile(opening, 90)),
        opening_p99=float(np.percentile(opening, 99)),
        opening_speed_p95=float(np.percentile(np.abs(np.diff(opening)), 95)),
        width_sd=float(width.std()),
        opening_width_r=_r(opening, width),
        protrusion_sd=float(forward.std()),
        corner_sd=float(corners.mean(1).std()),
        corner_difference_sd=float((corners[:, 0] - corners[:, 1]).std()),
    )


def sameness(faces: Sequence[FaceTracks]) -> dict[str, float]:
    """Pearson r of yaw, pitch and roll between all pairs of clips, the mean over the pairs: 1 is one dance for all.

    Pairs are compared over the shorter clip. Slow tracks of a few seconds are alike by chance in either sign, so the
    mean says more than one pair.
    """
    pairs = list(combinations(faces, 2))
    if not pairs:
        raise UserError("Sameness is between clips: give at least two.")
    rows: dict[str, float] = {}
    for axis, name in enumerate(("yaw_r", "pitch_r", "roll_r")):
        values = []
        for one, other in pairs:
            length = min(len(one.pose), len(other.pose))
            values.append(_r(one.pose[:length, axis], other.pose[:length, axis]))
        rows[name] = float(np.mean(values))
    return rows


class BackgroundWatcher:
    """The standard deviation over time of every pixel of `outside`, bool [H, W]: exactly 0 where nothing changes."""

    def __init__(self, outside: NDArray[np.bool_]) -> None:
        self._outside = outside
        self._first: NDArray[np.floating] | None = None
        self._sum: NDArray[np.floating] = np.zeros(1)
        self._squares: NDArray[np.floating] = np.zeros(1)
        self._count = 0

    def see(self, frame: NDArray[np.uint8]) -> None:
        """Take in the next frame, uint8 RGB [H, W, 3]."""
        pixels = frame[self._outside].astype(np.float64)
        self._first = pixels if self._first is None else self._first
        away = pixels - self._first
        self._sum, self._squares, self._count = self._sum + away, self._squares + away**2, self._count + 1

    def deviation(self) -> tuple[float, float]:
        """Mean and 99th percentile over the pixels, of 255; NaN where there is no background."""
        if not self._outside.any() or not self._count:
            return float("nan"), float("nan")
        variance = self._squares / self._count - (self._sum / self._count) ** 2
        deviation = np.sqrt(np.maximum(variance, 0)).mean(1)
        return float(deviation.mean()), float(np.percentile(deviation, 99))


@dataclass(frozen=True)
class _Blink:
    depths: tuple[float, float]
    fwhm_frames: float


def _closings(share: Track) -> NDArray[np.int_]:
    """Frames in which a lid's closing `share` [F] peaks as a blink does: deep and short."""
    padded = np.concatenate([[0], share, [0]])
    limits = {"height": BLINK_DEPTH, "prominence": BLINK_DEPTH, "width": (0, LONGEST_BLINK_FRAMES)}
    return scipy.signal.find_peaks(padded, **limits)[0] - 1


def _blink(shares: Track, at: int) -> _Blink:
    near = shares[max(0, at - 2) : at + 3]
    mean = np.concatenate([[0], shares.mean(1), [0]])
    width = scipy.signal.peak_widths(mean, [at + 1], rel_height=0.5)[0][0]
    return _Blink((float(near[:, 0].max()), float(near[:, 1].max())), float(width))


def _is_wink(shares: Track, at: int, eye: int) -> bool:
    near = shares[max(0, at - 2) : at + 3]
    return bool(near[:, 1 - eye].max() < 0.5 * near[:, eye].max())


def _degrees(rotation: NDArray[np.floating]) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a head's rotation [3, 3]."""
    yaw = np.arctan2(rotation[0, 2], rotation[2, 2])
    pitch = np.arcsin(np.clip(-rotation[1, 2], -1, 1))
    roll = np.arctan2(rotation[1, 0], rotation[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def _mean(values: Iterable[float] | NDArray[np.floating]) -> float:
    array = np.asarray(list(values) if not isinstance(values, np.ndarray) else values, np.float64)
    return float(array.mean()) if array.size else float("nan")


def _r(one: Track, other: Track) -> float:
    """Pearson's r; 0 where one of them does not vary."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 1e-9 and other.std() > 1e-9 else 0.0
