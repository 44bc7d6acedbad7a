"""Find faces and their 468 landmarks in a picture, follow one through a video, and mask its tokens.

Built on MediaPipe's face detector and FaceMesh. Knows nothing about models beyond the token grid's two numbers.
Pixel values carry `_px`; a box is (x0, y0, x1, y1) in fractions of the upright picture.

Small faces are the reason for two stages. Both networks see a picture shrunk to about 192 px, so a face is first
detected (whole picture, then overlapping tiles), and FaceMesh looks at an enlarged square around each detection.
"""

import contextlib
import functools
import math
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from engine.contract.errors import FaceNotFound

Box = tuple[float, float, float, float]

NUM_LANDMARKS = 468
MIN_CONFIDENCE = 0.5
CROP_PX = 384  # FaceMesh takes the face out of this at 192 px
CROP_OF_DETECTION = 2.0  # side of the enlarged square over the longer side of the detector's box
CROP_OF_LANDMARKS = 1.8  # the same over the landmarks' box, while tracking
TILES_PER_SIDE = (2, 4)  # sizes of the overlapping tiles searched when the whole picture shows no face
SAME_FACE_IOU = 0.3
SKULL_POINTS = (33, 263, 133, 362, 168, 6, 197, 195, 1, 98, 327, 10, 109, 338, 127, 356, 234, 454)
"""The eyes' outer corners first; what neither speech nor expression moves."""
SAME_PERSON = 0.045
SMALL_FACES_EVERY = 12
"""How often a film that shows no face is searched for small ones: that costs a hundred times a tracked frame."""
_STARTING = threading.Lock()

# The face box over the landmark box: left, top, right and bottom edge, in units of the landmark box's width or height
# (0 = its left or top edge, 1 = its right or bottom). The median over six published portraits with their face boxes
# from the demo set of EchoMimicV3's release, which take in more of the forehead than FaceMesh does; leaving one out,
# the mean IoU is 0.85 (five at 0.93 to 0.97; one box of theirs reaches far around the head: 0.35).
FACE_BOX_OF_LANDMARK_BOX = (-0.010, -0.159, 0.998, 1.010)


@dataclass(frozen=True, eq=False)
class Face:
    """One face: FaceMesh landmarks [468, 3] float32 in px of the whole picture (z on the same scale), and its box."""

    landmarks_px: np.ndarray
    box: Box


def detect_faces(picture: np.ndarray, *, small_too: bool = True) -> list[Face]:
    """All faces of a uint8 RGB picture [H, W, 3], the largest first; an empty list if there is none.

    Without `small_too` the picture is not searched tile by tile where it shows no face as a whole.
    """
    squares = _detections(picture)
    if not squares and small_too:
        squares = [square for tile in _tiles(picture) for square in _detections(picture, tile)]
    # FaceMesh has a short-range detector of its own, which finds some close faces that the full-range one misses.
    squares.append(_whole(picture))
    found: list[np.ndarray] = []
    for square in squares if len(squares) > 1 else squares[-1:]:
        landmarks_px = _static_mesh().landmarks(picture, square)
        if landmarks_px is not None and not any(_same_face(landmarks_px, other) for other in found):
            found.append(landmarks_px)
    found.sort(key=_area, reverse=True)
    return [Face(landmarks_px, face_box(landmarks_px, picture.shape)) for landmarks_px in found]


def find_faces(picture: np.ndarray, *, field: str = "image") -> list[Face]:
    """At least one face, the largest first. Raises `FaceNotFound(field)`."""
    faces = detect_faces(picture)
    if not faces:
        raise FaceNotFound(
            f"No face found in the picture ({picture.shape[1]} × {picture.shape[0]} px); use one where a face looks "
            "towards the camera, unobscured, and is at least 5 % of the height.",
            field,
        )
    return faces


def several_faces_notice(faces: list[Face]) -> str | None:
    """What to say where there is more than one face; None where there is not."""
    if len(faces) == 1:
        return None
    return f"{len(faces)} faces found; the {'larger' if len(faces) == 2 else 'largest'} one is taken."


def find_face(picture: np.ndarray, *, field: str = "image") -> tuple[Face, str | None]:
    """The largest face and, when there are several, a notice that says so. Raises `FaceNotFound(field)`."""
    faces = find_faces(picture, field=field)
    return faces[0], several_faces_notice(faces)


def face_in(faces: list[Face], box: Box, shape: tuple[int, ...]) -> Face | None:
    """The face whose middle lies in `box`, fractions of a picture of `shape` (height, width, ...); None without one."""
    x0, y0, x1, y1 = box
    for face in faces:
        x, y = face.landmarks_px[:, :2].mean(axis=0) / [shape[1], shape[0]]
        if x0 <= x <= x1 and y0 <= y <= y1:
            return face
    return None


class SpeakerChoice:
    """Who of a film's faces speaks: the one in `box`, or the largest of the first frame that shows one; and who that is
    again after it was lost, in a cut or behind a hand."""

    def __init__(self, box: Box | None = None) -> None:
        self._box = box
        self._last: np.ndarray | None = None
        self.faces = 0
        """How many were seen where the choice was made."""

    def choose(self, faces: list[Face], shape: tuple[int, ...]) -> np.ndarray | None:
        """The speaker's landmarks among `faces` of a frame, or None where the speaker is not there."""
        if not faces:
            return None
        if self._last is not None:
            return _again(faces, self._last)
        chosen = faces[0] if self._box is None else face_in(faces, self._box, shape)
        if chosen is None:
            return None
        self.faces = len(faces)
        return chosen.landmarks_px

    def saw(self, landmarks_px: np.ndarray | None) -> None:
        """Where the speaker was last."""
        self._last = self._last if landmarks_px is None else landmarks_px


def _again(faces: list[Face], last_px: np.ndarray) -> np.ndarray:
    """The face that lies where the speaker's was; after a cut, the one whose skull is most like it."""
    there = [face.landmarks_px for face in faces if _same_face(face.landmarks_px, last_px)]
    return (
        there[0] if there else min((f.landmarks_px for f in faces), key=lambda points: skull_distance(points, last_px))
    )


def track_face(frames: Iterable[np.ndarray], speaker: SpeakerChoice | None = None) -> Iterator[np.ndarray | None]:
    """Landmarks [468, 3] float32 in px for every frame (uint8 RGB [H, W, 3], one size), or None where there is no face.

    The face that `speaker` chooses is followed, by default the largest of the first frame that shows one. FaceMesh
    tracks inside a square that stays put until the face nears its edge, so that neither the crop nor the size of the
    face in the frame adds jitter.
    """
    speaker = speaker or SpeakerChoice()
    mesh = _FaceMesh(static=False)
    square: _Square | None = None
    faceless = 0
    try:
        for frame in frames:
            landmarks_px = mesh.landmarks(frame, square) if square is not None else None
            if landmarks_px is None or not _well_inside(landmarks_px, square):
                if landmarks_px is None:
                    faces = detect_faces(frame, small_too=faceless % SMALL_FACES_EVERY == 0)
                    landmarks_px = speaker.choose(faces, frame.shape)
                square = _square_around(landmarks_px, CROP_OF_LANDMARKS) if landmarks_px is not None else None
                mesh.forget()
                if square is not None:
                    landmarks_px = mesh.landmarks(frame, square)
            faceless = 0 if landmarks_px is not None else faceless + 1
            speaker.saw(landmarks_px)
            yield landmarks_px
    finally:
        mesh.close()


def face_box(landmarks_px: np.ndarray, picture_shape: tuple[int, ...]) -> Box:
    """The face box, fractions xyxy clipped to the picture, from landmarks [468, 2 or 3] and the picture's shape."""
    (x0, y0), (x1, y1) = landmarks_px[:, :2].min(axis=0), landmarks_px[:, :2].max(axis=0)
    left, top, right, bottom = FACE_BOX_OF_LANDMARK_BOX
    height, width = picture_shape[:2]
    box_px = (x0 + left * (x1 - x0), y0 + top * (y1 - y0), x0 + right * (x1 - x0), y0 + bottom * (y1 - y0))
    sizes = (width, height, width, height)
    x0, y0, x1, y1 = (min(1.0, max(0.0, float(edge / size))) for edge, size in zip(box_px, sizes, strict=True))
    return x0, y0, x1, y1


def same_person(one_px: np.ndarray, other_px: np.ndarray) -> bool:
    """Whether two faces [468, 3] have one skull: their stable points agree but for place, size and turn.

    The measure is the rest of a rigid fit. FaceMesh draws every skull towards an average one: nine portraits of
    different people are .02 to .08 apart, so this is a hint for a notice and misses about half of them.
    """
    return skull_distance(one_px, other_px) < SAME_PERSON


def skull_distance(one_px: np.ndarray, other_px: np.ndarray) -> float:
    """Root mean square distance of two faces' stable points after the best rigid fit, in distances between the eyes."""
    shapes = []
    for points in (one_px[list(SKULL_POINTS)], other_px[list(SKULL_POINTS)]):
        centred = points - points.mean(axis=0)
        shapes.append(centred / np.linalg.norm(points[0] - points[1]))
    u, _, vt = np.linalg.svd(shapes[0].T @ shapes[1])
    turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return float(np.sqrt(np.mean(np.sum((shapes[0] @ turn - shapes[1]) ** 2, axis=1))))


def face_token_mask(box: Box, latent_height: int, latent_width: int, patch: int = 2) -> np.ndarray:
    """The hard face mask of the audio attention: float32 [(H/patch)·(W/patch)], 1 where the box touches a token's cell.

    Tokens run row by row over a latent of [H, W] cut into patch × patch tokens. Raises `ValueError` for a box without
    area or outside the picture, and for a latent that the patch does not divide.
    """
    if latent_height % patch or latent_width % patch:
        raise ValueError(f"latent {latent_height} × {latent_width} is not a multiple of the patch {patch}")
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(f"a box is fractions x0 < x1, y0 < y1 within [0, 1]; got {box}")
    rows, columns = latent_height // patch, latent_width // patch
    mask = np.zeros((rows, columns), np.float32)
    # A border that lies on a cell's edge but for rounding does not touch the next cell.
    slack = 1e-6
    mask[
        math.floor(y0 * rows + slack) : math.ceil(y1 * rows - slack),
        math.floor(x0 * columns + slack) : math.ceil(x1 * columns - slack),
    ] = 1.0
    return mask.reshape(-1)


@dataclass(frozen=True)
class _Square:
    """A square piece of a picture, which may reach over its borders; in px of the picture."""

    x_px: float
    y_px: float
    side_px: float

    def cut(self, picture: np.ndarray, out_px: int) -> np.ndarray:
        """The piece as [out_px, out_px, 3]; beyond the border it is black. Shrunk by area, enlarged cubically."""
        height, width = picture.shape[:2]
        left, top, side = round(self.x_px), round(self.y_px), max(1, round(self.side_px))
        piece = picture[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
        over = (max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width))
        square = cv2.copyMakeBorder(piece, *over, cv2.BORDER_CONSTANT)
        method = cv2.INTER_AREA if side > out_px else cv2.INTER_CUBIC
        return cv2.resize(square, (out_px, out_px), interpolation=method)

    def to_picture(self, fractions: np.ndarray) -> np.ndarray:
        """Points [n, 3] in fractions of the square (x, y, z) to px of the picture, undoing `cut`'s rounding."""
        side = max(1, round(self.side_px))
        return (fractions * side + (round(self.x_px), round(self.y_px), 0)).astype(np.float32)


class _FaceMesh:
    """One FaceMesh graph behind a lock. `static=True` looks for the face anew in every picture."""

    def __init__(self, *, static: bool) -> None:
        self._lock = threading.Lock()
        self._has_spoken = False
        with quiet_stderr():
            from mediapipe.python.solutions.face_mesh import FaceMesh

            # The refined model places the lips and lids far better; its iris points are left out.
            self._graph = FaceMesh(
                static_image_mode=static,
                refine_landmarks=True,
                min_detection_confidence=MIN_CONFIDENCE,
                min_tracking_confidence=MIN_CONFIDENCE,
            )
            self._wait_until_started()

    def landmarks(self, picture: np.ndarray, square: _Square) -> np.ndarray | None:
        # The graph writes its last start-up line when it sees its first face.
        quiet = contextlib.nullcontext() if self._has_spoken else quiet_stderr()
        with self._lock, quiet:
            faces = self._graph.process(square.cut(picture, CROP_PX)).multi_face_landmarks
        if not faces:
            return None
        self._has_spoken = True
        points = np.array([(point.x, point.y, point.z) for point in faces[0].landmark[:NUM_LANDMARKS]])
        return square.to_picture(points)

    def forget(self) -> None:
        """Drop the last frame's position: the next picture is another piece of the frame."""
        with self._lock, quiet_stderr():
            self._graph.reset()
            self._wait_until_started()
        self._has_spoken = False

    def close(self) -> None:
        self._graph.close()

    def _wait_until_started(self) -> None:
        """Its parts start in threads of their own, each with a line of its own."""
        self._graph.process(np.zeros((CROP_PX, CROP_PX, 3), np.uint8))


class _Detector:
    """The full-range face detector behind a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        with quiet_stderr():
            from mediapipe.python.solutions.face_detection import FaceDetection

            self._graph = FaceDetection(model_selection=1, min_detection_confidence=MIN_CONFIDENCE)
            self._graph.process(np.zeros((CROP_PX, CROP_PX, 3), np.uint8))

    def boxes(self, square_picture: np.ndarray) -> list[Any]:
        with self._lock:
            detections = self._graph.process(square_picture).detections or []
        return [detection.location_data.relative_bounding_box for detection in detections]


@functools.cache
def _static_mesh() -> _FaceMesh:
    return _FaceMesh(static=True)


@functools.cache
def _detector() -> _Detector:
    return _Detector()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep the lines that MediaPipe's C++ side writes while it starts off stderr; show them if it fails.

    They come from below Python and before its logging can be set, so the file descriptor itself is turned away.
    """
    with _STARTING, tempfile.TemporaryFile() as caught:
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            caught.seek(0)
            os.write(stderr, caught.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _detections(picture: np.ndarray, tile: _Square | None = None) -> list[_Square]:
    tile = tile or _whole(picture)
    boxes = _detector().boxes(tile.cut(picture, CROP_PX))
    squares = []
    for box in boxes:
        side = max(box.width, box.height) * CROP_OF_DETECTION
        x, y = box.xmin + box.width / 2 - side / 2, box.ymin + box.height / 2 - side / 2
        squares.append(_Square(tile.x_px + x * tile.side_px, tile.y_px + y * tile.side_px, side * tile.side_px))
    return squares


def _whole(picture: np.ndarray) -> _Square:
    """The smallest square that holds the whole picture, centred on it."""
    height, width = picture.shape[:2]
    side = max(height, width)
    return _Square((width - side) / 2, (height - side) / 2, side)


def _tiles(picture: np.ndarray) -> Iterator[_Square]:
    """Squares that overlap by half and cover the picture, larger ones first."""
    height, width = picture.shape[:2]
    for per_side in TILES_PER_SIDE:
        side = max(height, width) / per_side
        for y in np.arange(0, max(1, height - side / 2), side / 2):
            for x in np.arange(0, max(1, width - side / 2), side / 2):
                yield _Square(float(x), float(y), side)


def _square_around(landmarks_px: np.ndarray, enlarge: float) -> _Square:
    low, high = landmarks_px[:, :2].min(axis=0), landmarks_px[:, :2].max(axis=0)
    side = float((high - low).max()) * enlarge
    x, y = (low + high) / 2 - side / 2
    return _Square(float(x), float(y), side)


def _well_inside(landmarks_px: np.ndarray, square: _Square | None) -> bool:
    """Whether the face keeps a tenth of the square's side to its border and still fills two fifths of it."""
    assert square is not None
    inside = (landmarks_px[:, :2] - (square.x_px, square.y_px)) / square.side_px
    return bool(inside.min() > 0.1 and inside.max() < 0.9 and np.ptp(inside, axis=0).max() > 0.4)


def _area(landmarks_px: np.ndarray) -> float:
    return float(np.prod(np.ptp(landmarks_px[:, :2], axis=0)))


def _same_face(one: np.ndarray, other: np.ndarray) -> bool:
    low = np.maximum(one[:, :2].min(axis=0), other[:, :2].min(axis=0))
    high = np.minimum(one[:, :2].max(axis=0), other[:, :2].max(axis=0))
    common = float(np.prod(np.maximum(high - low, 0)))
    return common > SAME_FACE_IOU * (_area(one) + _area(other) - common)
