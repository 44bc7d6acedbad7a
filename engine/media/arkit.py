"""A clip's motion as other programs read it: ARKit's 52 blend shapes and the head's turn, estimated from landmarks.

Written as CSV with the columns of Apple-ARKit recordings by Live Link Face, or as JSON. The rest is the first frame
that shows a face, which in our own clips is the picture. Every frame is brought onto it by a rigid fit of the skull's
points; what is left is measured in distances between the outer eye corners, called e. Full (1.0) is FULL below, chosen
by eye: these are estimates for retargeting, not ARKit's own numbers, and shapes without a landmark to tell them are 0.
"""

import csv
import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from engine.contract.errors import UserError
from engine.media.face import SKULL_POINTS
from engine.media.film import filled, read_film

_SIDES = ("Left", "Right")
SHAPES = (
    *(
        f"Eye{name}{side}"
        for side in _SIDES
        for name in ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
    ),
    *("JawForward", "JawRight", "JawLeft", "JawOpen"),
    *("MouthClose", "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft"),
    *(f"Mouth{name}{side}" for name in ("Smile", "Frown", "Dimple", "Stretch") for side in _SIDES),
    *("MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"),
    *(f"Mouth{name}{side}" for name in ("Press", "LowerDown", "UpperUp") for side in _SIDES),
    *("BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight", "CheekPuff"),
    *("CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut"),
)
"""ARKit's names in Live Link Face's order; left is the person's left, the picture's right."""
TURNS = (
    "HeadYaw",
    "HeadPitch",
    "HeadRoll",
    *(f"{side}Eye{turn}" for side in _SIDES for turn in ("Yaw", "Pitch", "Roll")),
)
"""Radians against the first frame, the head's: yaw to the picture's right, pitch down, roll clockwise. Eyes are 0."""
ESTIMATED = frozenset(
    {"JawOpen", "JawLeft", "JawRight", "MouthClose", "MouthFunnel", "MouthPucker", "MouthLeft", "MouthRight"}
    | {f"{name}{side}" for side in _SIDES for name in ("EyeBlink", "EyeWide", "MouthSmile", "MouthFrown")}
    | {f"{name}{side}" for side in _SIDES for name in ("MouthLowerDown", "MouthUpperUp", "BrowDown", "BrowOuterUp")}
    | {"BrowInnerUp", "HeadYaw", "HeadPitch", "HeadRoll"}
)
"""What is estimated; every other column is 0."""
FULL = {
    "jaw": 0.22,
    "shift": 0.12,
    "narrow": 0.35,
    "wide": 0.40,
    "shut": 0.60,
    "smile": 0.12,
    "frown": 0.10,
    "lip": 0.10,
    "brow": 0.12,
}
"""In e, but for `narrow` (of the mouth's width), `wide` and `shut` (of the eye's opening: FaceMesh
never sees closed lids meet)."""
_LIDS = {"Left": ((386, 374), (385, 380), (387, 373)), "Right": ((159, 145), (158, 153), (160, 144))}
_CORNER = {"Left": 291, "Right": 61}
_BROW = {"Left": (336, 334, 300), "Right": (107, 105, 70)}
_LIPS = {"Left": (312, 317), "Right": (82, 87)}
_CHIN, _UPPER_LIP, _LOWER_LIP, _EYE_CORNERS = 152, 13, 14, (33, 263)


def shapes_of(landmarks_px: np.ndarray) -> dict[str, np.ndarray]:
    """`landmarks_px` [F, 468, 3] → every column of SHAPES, in [0, 1], and of TURNS, in radians, as [F] each."""
    rest, turned = _aligned(landmarks_px)
    moved = turned - rest[None]
    right, down = moved[:, :, 0], moved[:, :, 1]
    gap = _distance(turned, _UPPER_LIP, _LOWER_LIP) - _distance(rest[None], _UPPER_LIP, _LOWER_LIP)
    width = _distance(turned, *_CORNER.values()) / _distance(rest[None], *_CORNER.values())
    narrow, opened = _share(1 - width, "narrow"), _share(gap, "lip")
    jaw = _share(down[:, _CHIN], "jaw")
    middle = right[:, list(_CORNER.values())].mean(1)
    found = {
        "JawOpen": jaw,
        "JawLeft": _share(right[:, _CHIN], "shift"),
        "JawRight": _share(-right[:, _CHIN], "shift"),
        "MouthClose": np.maximum(jaw - _share(gap, "jaw"), 0),
        "MouthFunnel": narrow * opened,
        "MouthPucker": narrow * (1 - opened),
        "MouthLeft": _share(middle, "shift"),
        "MouthRight": _share(-middle, "shift"),
        "BrowInnerUp": _share(-down[:, [_BROW[side][0] for side in _SIDES]].mean(1), "brow"),
    }
    for side, outwards in (("Left", 1), ("Right", -1)):
        opening = _opening(turned, side) / _opening(rest[None], side)
        corner, brow, (upper, lower) = _CORNER[side], list(_BROW[side]), _LIPS[side]
        found |= {
            f"EyeBlink{side}": _share(1 - opening, "shut"),
            f"EyeWide{side}": _share(opening - 1, "wide"),
            f"MouthSmile{side}": _share(0.5 * outwards * right[:, corner] - down[:, corner], "smile"),
            f"MouthFrown{side}": _share(down[:, corner] - 0.5 * np.maximum(down[:, _CHIN], 0), "frown"),
            f"MouthUpperUp{side}": _share(-down[:, upper], "lip"),
            f"MouthLowerDown{side}": _share(down[:, lower] - down[:, _CHIN], "lip"),
            f"BrowDown{side}": _share(down[:, brow].mean(1), "brow"),
            f"BrowOuterUp{side}": _share(-down[:, brow[1:]].mean(1), "brow"),
        }
    yaw, pitch, roll = _turns(landmarks_px).T
    found |= {"HeadYaw": yaw, "HeadPitch": pitch, "HeadRoll": roll}
    still = np.zeros(len(landmarks_px))
    return {name: found.get(name, still) for name in (*SHAPES, *TURNS)}


def write_motion(clip: Path, out: Path) -> int:
    """Write the motion of the film `clip` to `out`, .csv or .json; the number of frames.

    Raises UserError for another ending, a film that cannot be read and one without a face.
    """
    ending = out.suffix.lower()
    if ending not in {".csv", ".json"}:
        raise UserError(
            f"The motion is written as .csv or .json, not {ending or 'without an ending'}; rename it.", "out"
        )
    if not out.parent.is_dir():
        raise UserError(f"The folder {out.parent} does not exist; create it or choose another.", "out")
    film, _ = read_film(clip)
    shapes = shapes_of(filled(list(film.landmarks_px)))
    columns = {name: [round(float(value), 6) for value in values] for name, values in shapes.items()}
    times_s = [float(time_s) for time_s in film.times_s]
    if ending == ".json":
        told = {"estimated": sorted(ESTIMATED), "times_s": times_s, "values": columns}
        out.write_text(json.dumps(told), encoding="utf-8")
        return len(times_s)
    fps = max(1, round(1 / film.frame_s))
    with out.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["Timecode", "BlendShapeCount", *columns])
        for time_s, *values in zip(times_s, *columns.values(), strict=True):
            lines.writerow([timecode(time_s, fps), len(columns), *values])
    return len(times_s)


def timecode(time_s: float, fps: int) -> str:
    """`HH:MM:SS:FF.mmm`: hours, minutes, seconds, frame of the second, thousandths of a frame."""
    whole = int(time_s + 1e-6)
    frames = max(0.0, (time_s - whole) * fps)
    frame, part = divmod(round(frames * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{frame:02d}.{part:03d}"


def _aligned(landmarks_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first frame [468, 3] and every frame [F, 468, 3] turned onto it, in e."""
    skull = list(SKULL_POINTS)
    unit = float(np.linalg.norm(np.subtract(*landmarks_px[0, list(_EYE_CORNERS)])))
    rest = (landmarks_px[0] - landmarks_px[0, skull].mean(0)) / unit
    aligned = []
    for frame, turn in zip(landmarks_px, _rotations(landmarks_px), strict=True):
        centred = turn.inv().apply(frame - frame[skull].mean(0))
        aligned.append(centred * (np.linalg.norm(rest[skull]) / np.linalg.norm(centred[skull])))
    return rest, np.array(aligned)


def _rotations(landmarks_px: np.ndarray) -> list[Rotation]:
    centred = landmarks_px[:, list(SKULL_POINTS)]
    centred = centred - centred.mean(1, keepdims=True)
    return [Rotation.align_vectors(frame, centred[0])[0] for frame in centred]


def _turns(landmarks_px: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll in radians, [F, 3]; x is to the right, y down, z away from the viewer."""
    angles = np.array([turn.as_euler("YXZ") for turn in _rotations(landmarks_px)])
    return angles * [-1, 1, 1]


def _opening(shapes: np.ndarray, side: str) -> np.ndarray:
    return np.sum([_distance(shapes, *pair) for pair in _LIDS[side]], axis=0)


def _distance(shapes: np.ndarray, one: int, other: int) -> np.ndarray:
    return np.linalg.norm(shapes[:, one] - shapes[:, other], axis=1)


def _share(values: np.ndarray, of: str) -> np.ndarray:
    return np.clip(values / FULL[of], 0, 1)
