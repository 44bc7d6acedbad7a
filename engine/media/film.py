"""A film whose lips will move: when its frames are shown, the face in each, how it meets a voice of another length.

Frames are never held all at once: the film is decoded once to find the face, and again when it is drawn. Pixel values
carry `_px`, times are seconds from the first frame. Knows nothing about models. A still is a film of one frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice, pairwise
from pathlib import Path

import numpy as np

from engine.contract.errors import FaceNotFound, UserError
from engine.contract.settings import LipSyncSettings
from engine.contract.variants import FPS
from engine.media.face import Box, SpeakerChoice, track_face
from engine.media.video import film_notices, read_timed_frames

MOST_FPS = 120
MIN_STEP_S = 1 / (2 * MOST_FPS)
"""Two frames that are nearer in time than this are shown one after the other, so far apart."""
ODD_SHARE = 0.1
"""Where more of the frames than this have no usable time, the film's clock is not to be trusted."""
LAST_FRAME_S = 1.0
"""The last frame of a film is shown for its usual step, but no longer than this."""
BACKWARD_FRAMES = 32
"""How many frames are held at once while a film plays backwards."""


@dataclass(frozen=True, eq=False)
class Film:
    """A film, or a still that stands for one. `times_s` [N] and `landmarks_px` of every frame, None without a face."""

    path: Path | None
    still: np.ndarray | None
    times_s: np.ndarray
    landmarks_px: tuple[np.ndarray | None, ...]
    shape: tuple[int, int]
    """Height and width in pixels."""

    @property
    def frame_s(self) -> float:
        """The usual time from one frame to the next."""
        return float(np.median(np.diff(self.times_s))) if len(self.times_s) > 1 else 1 / FPS

    @property
    def last_s(self) -> float:
        """How long the last frame is shown."""
        return min(self.frame_s, LAST_FRAME_S)

    @property
    def duration_s(self) -> float:
        """Until the last frame has been shown."""
        return float(self.times_s[-1]) + self.last_s

    @property
    def first_face(self) -> int:
        """The first frame that shows a face."""
        return next(index for index, landmarks in enumerate(self.landmarks_px) if landmarks is not None)

    def frames(self, indices: list[int]) -> Iterator[np.ndarray]:
        """The frames of these numbers, in this order, uint8 RGB [H, W, 3]; decoded anew for every change of course."""
        if self.still is not None:
            yield from (self.still for _ in indices)
            return
        for run in _runs(indices):
            if run[0] <= run[-1]:
                yield from self._forward(run)
                continue
            for start in range(0, len(run), BACKWARD_FRAMES):
                part = run[start : start + BACKWARD_FRAMES]
                yield from list(self._forward(part[::-1]))[::-1]

    def _forward(self, run: list[int]) -> Iterator[np.ndarray]:
        assert self.path is not None
        wanted = iter(run)
        next_one = next(wanted)
        for index, (_, frame) in enumerate(islice(read_timed_frames(self.path), run[-1] + 1)):
            while index == next_one:
                yield frame
                next_one = next(wanted, -1)


def _runs(indices: list[int]) -> Iterator[list[int]]:
    """Stretches that go one way, a frame that stands still counting as forward."""
    directions = [False, *(after < before for before, after in pairwise(indices))]
    for _, run in groupby(range(len(indices)), key=lambda place: directions[place]):
        yield [indices[place] for place in run]


@dataclass(frozen=True, eq=False)
class FilmPlan:
    """Which frame of a film is shown when: `indices` and `times_s` [N] of the output's frames, and its length."""

    indices: list[int]
    times_s: np.ndarray
    duration_s: float

    def at(self, time_s: float) -> int:
        """The film's frame that is shown at `time_s`."""
        return self.indices[max(0, int(np.searchsorted(self.times_s, time_s + 1e-6, side="right")) - 1)]


def plan_film(film: Film, voice_s: float, settings: LipSyncSettings) -> FilmPlan:
    """How `film` plays to a voice of `voice_s`: never cut in silence, never longer than both.

    A voice that is longer finds the last frame held, or the film swinging to and fro; behind one that is shorter the
    film goes on, or ends with it, as `settings` say. The film's own timestamps are kept.
    """
    count, frame_s = len(film.times_s), film.last_s
    indices, times = list(range(count)), list(film.times_s)
    if voice_s > film.duration_s:
        there_and_back = [*range(count - 2, 0, -1), *range(count)] if count > 1 else [0]
        while times[-1] + frame_s < voice_s - 1e-6:
            place = len(times) - count
            indices.append(
                count - 1 if settings.audio_longer == "hold" else there_and_back[place % len(there_and_back)]
            )
            times.append(times[-1] + frame_s)
    elif settings.audio_shorter == "cut":
        kept = max(1, sum(time < voice_s - 1e-6 for time in times))
        indices, times = indices[:kept], times[:kept]
    return FilmPlan(indices, np.array(times), times[-1] + frame_s)


def read_film(
    path: Path, *, field: str = "video", max_s: float = 600.0, face_box: Box | None = None
) -> tuple[Film, list[str]]:
    """Decode `path` once, following the face in `face_box`, or the largest; the film and what to tell its owner.

    Raises UserError(field) for a film that is damaged, has one frame, is too long, changes its size midway or has a
    clock that cannot be meant (more than MOST_FPS frames a second, times that stand still or fall), FaceNotFound where
    no frame shows a face.
    """
    times: list[float] = []
    odd = 0
    shape: tuple[int, int] = (0, 0)

    def frames() -> Iterator[np.ndarray]:
        nonlocal shape, odd
        for told_s, frame in read_timed_frames(path, field=field):
            time_s = told_s
            if times and frame.shape[:2] != shape:
                raise UserError(
                    f"{path.name} changes its size after {len(times)} frames, from {shape[1]}×{shape[0]} to "
                    f"{frame.shape[1]}×{frame.shape[0]} px; export it in one size.",
                    field,
                )
            if times and time_s - times[-1] < MIN_STEP_S:
                odd += 1
                time_s = times[-1] + MIN_STEP_S
            if time_s - (times[0] if times else time_s) > max_s:
                raise UserError(f"{path.name} is longer than {max_s:g} s; cut it.", field)
            times.append(time_s)
            shape = frame.shape[0], frame.shape[1]
            if odd > ODD_SHARE * MOST_FPS and odd > ODD_SHARE * len(times):
                raise _clock_refused(path, odd, len(times), field)
            yield frame

    speaker = SpeakerChoice(face_box)
    landmarks = tuple(track_face(frames(), speaker))
    if len(times) < 2:
        raise UserError(
            f"{path.name} has {len(times)} frame; give a longer film, or the picture itself as image.", field
        )
    if odd > ODD_SHARE * len(times):
        raise _clock_refused(path, odd, len(times), field)
    start = times[0]
    fps = 1 / float(np.median(np.diff(times)))
    if fps > MOST_FPS + 1:
        raise UserError(
            f"{path.name} shows {fps:.0f} frames a second; at most {MOST_FPS} are taken, export it with fewer.", field
        )
    lacking = sum(points is None for points in landmarks)
    if lacking == len(landmarks):
        if face_box is not None:
            raise UserError(
                f"No face of {path.name} has its middle in the box {','.join(f'{edge:g}' for edge in face_box)}; draw "
                "it round a face of the first frame that shows it, or leave it out.",
                "face_box",
            )
        raise FaceNotFound(
            f"No face found in any of the {len(landmarks)} frames of {path.name}; use a film in which a face looks "
            "towards the camera.",
            field,
        )
    notices = film_notices(path, field=field)
    if odd:
        notices.append(f"{odd} of {len(times)} frames had no usable time; they are shown right after the one before.")
    if speaker.faces > 1 and face_box is None:
        notices.append(f"{speaker.faces} faces found; the largest one speaks. A face box chooses another.")
    if lacking:
        notices.append(f"{lacking} of {len(landmarks)} frames show no face; they stay as they are.")
    film = Film(path, None, np.array(times) - start, landmarks, shape)
    steps = np.diff(film.times_s)
    if steps.max() > 1.5 * film.frame_s:
        notices.append("The film's frames are not evenly spaced in time; their own times are kept.")
    return film, notices


def _clock_refused(path: Path, odd: int, count: int, field: str) -> UserError:
    return UserError(
        f"{path.name} has a clock that cannot be meant: {odd} of its first {count} frames come at the time of the one "
        f"before, before it, or within {1000 * MIN_STEP_S:.1f} ms of it; export it with a constant frame rate.",
        field,
    )


def still_film(picture: np.ndarray, landmarks_px: np.ndarray, voice_s: float) -> Film:
    """A picture as a film of 25 frames per second, as long as the voice."""
    count = max(1, round(voice_s * FPS))
    return Film(None, picture, np.arange(count) / FPS, (landmarks_px,) * count, (picture.shape[0], picture.shape[1]))


def filled(landmarks: list[np.ndarray | None]) -> np.ndarray:
    """Landmarks [F, 468, 3] of every frame, those that are lacking drawn between their neighbours."""
    known = [index for index, points in enumerate(landmarks) if points is not None]
    stacked = np.stack([landmarks[index] for index in known])  # type: ignore[misc]
    places = np.interp(np.arange(len(landmarks)), known, np.arange(len(known)))
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, len(known) - 1)
    share = (places - low)[:, None, None]
    return (stacked[low] * (1 - share) + stacked[high] * share).astype(np.float32)
