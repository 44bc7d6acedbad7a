"""What can be said of a video offline, without anybody's weights: simple measures, all named proxy/… .

One pass over the frames. Each measure stands in for a judgement that people or large models make, and can be fooled;
none is ever tuned to. Departure: identity is that of the skull's landmarks, not of a face recogniser.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import mediapipe as mp
import numpy as np
from numpy.typing import NDArray

from engine.media.drift import mean_lab, sharpness
from engine.media.face import SKULL_POINTS, skull_distance

HANDS_PER_S = 2
"""Frames a second in which hands are looked for."""
_LEAST_SILENT_S = 0.4
_LUMA_SIDE_PX = 160

PROXIES: dict[str, tuple[str, str]] = {
    "mesh_lip_r": ("lips against the loudness of speech, Pearson r", "higher"),
    "viseme_r": ("lips against the phones that are heard, Pearson r", "higher"),
    "identity": ("distance of the skull's landmarks from the first frame's, mean, in eye distances", "lower"),
    "colour_drift": ("largest distance of a second's mean colour from the first's, ΔE76", "lower"),
    "flicker": ("brightness against the neighbouring frames' mean, mean, of 255", "lower"),
    "sharpness": ("median variance of the Laplacian over the first frame's", "near 1"),
    "jerk": ("third derivative of the head's place, root mean square, eye distances/s³", "lower"),
    "silence_motion": ("lips' opening in silence over that in speech", "lower"),
    "hand_presence": ("share of the looked-at frames that show a hand", "as asked for"),
}
"""What each means, and which way is better."""


@dataclass
class FrameWatcher:
    """Sees every frame on its way to the face tracker, so that a video is decoded once and never held whole."""

    fps: float
    _colours: list[NDArray[np.floating]] = field(default_factory=list)
    _luma: list[float] = field(default_factory=list)
    _sharpness: list[float] = field(default_factory=list)
    _hands: list[bool] = field(default_factory=list)
    size_px: tuple[int, int] = (0, 0)

    def watch(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """The same frames, uint8 RGB [H, W, 3]."""
        every = max(1, round(self.fps / HANDS_PER_S))
        with mp.solutions.hands.Hands(static_image_mode=True, max_num_hands=2) as hands:
            for index, frame in enumerate(frames):
                self.size_px = (frame.shape[1], frame.shape[0])
                self._colours.append(mean_lab(frame))
                small = cv2.resize(frame, (_LUMA_SIDE_PX, _LUMA_SIDE_PX), interpolation=cv2.INTER_AREA)
                self._luma.append(float(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).mean()))
                self._sharpness.append(sharpness(frame))
                if index % every == 0:
                    self._hands.append(hands.process(frame).multi_hand_landmarks is not None)
                yield frame

    def measured(self) -> dict[str, float]:
        """The proxies that need no face."""
        luma = np.array(self._luma)
        return {
            "colour_drift": colour_drift(np.array(self._colours), self.fps),
            "flicker": float(np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean()) if len(luma) > 2 else float("nan"),
            "sharpness": float(np.median(self._sharpness) / max(self._sharpness[0], 1e-9)),
            "hand_presence": float(np.mean(self._hands)),
        }


def colour_drift(colours: NDArray[np.floating], fps: float) -> float:
    """The largest distance in Lab of a second's mean from the first's, of `colours` [F, 3]; NaN below two seconds."""
    each = max(1, round(fps))
    seconds = colours[: len(colours) // each * each].reshape(-1, each, 3).mean(1)
    if len(seconds) < 2:
        return float("nan")
    return float(np.linalg.norm(seconds - seconds[0], axis=1).max())


def face_proxies(tracked: list[NDArray[np.floating] | None], fps: float) -> dict[str, float]:
    """Identity and jerk from landmarks [468, 3] per frame, None where no face was seen."""
    seen = [face for face in tracked if face is not None]
    distances = [skull_distance(seen[0], face) for face in seen[1:]]
    return {
        "identity": float(np.mean(distances)) if distances else float("nan"),
        "jerk": _jerk(tracked, fps),
    }


def _jerk(tracked: list[NDArray[np.floating] | None], fps: float) -> float:
    """Over the frames that have three seen before them."""
    missing = np.full(2, np.nan)
    skulls = [None if face is None else face[list(SKULL_POINTS), :2] for face in tracked]
    places = np.array([missing if skull is None else skull.mean(0) for skull in skulls])
    eyes = [float(np.linalg.norm(skull[0] - skull[1])) for skull in skulls if skull is not None]
    squares = np.square(np.diff(places, 3, axis=0)).sum(1)
    known = squares[np.isfinite(squares)]
    return float(np.sqrt(known.mean()) * fps**3 / np.median(eyes)) if len(known) else float("nan")


def silence_motion(aperture: NDArray[np.floating], voiced: NDArray[np.bool_], fps: float) -> float:
    """(mean opening in silence − 5th percentile) / (mean opening in speech − 5th percentile); both [F].

    Frames near speech do not count. NaN without speech or with less than 0.4 s of silence; `aperture` may hold NaN.
    """
    margin = round(0.2 * fps)
    near = np.convolve(voiced, np.ones(2 * margin + 1), mode="same") > 0
    silent, speaking = aperture[~near], aperture[voiced]
    silent, speaking = silent[np.isfinite(silent)], speaking[np.isfinite(speaking)]
    if len(silent) < _LEAST_SILENT_S * fps or not len(speaking):
        return float("nan")
    floor = np.nanpercentile(aperture, 5)
    wide = speaking.mean() - floor
    return float((silent.mean() - floor) / wide) if wide > 1e-9 else float("nan")
