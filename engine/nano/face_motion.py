"""Nano's autoencoder: a face's motion as a small latent video, shaped like the latents of the released model.

Encoding puts 60 FaceMesh points and 8 slots (head pose, teeth, tongue) of every video frame on an 8x8 grid. A group of
points that belong together takes 2x2 cells, a token of nano's transformer two groups side by side (its patch is 2x4),
and neighbours on the face are neighbours on the grid. The 16 channels are 4 video frames times 4 values: (dx, dy), the
position against the mean face, so that the model sees who it is and whether the mouth is already open, and (mx, my),
the motion against the reference picture, which alone are decoded. Frames fold into latents as in Wan: the first alone
(repeated x4), then every four. Decoding maps the points' motion to all 468 vertices by a ridge map, adds the head's
pose, and gives places in the picture. Grey is 0. Knows nothing about drawing, which is `engine.nano.face_warp`'s.

Head-normalised frame: the head's rotation taken out, origin between the ears, unit = face height (hairline to chin),
x to the picture's right, y down, z away from the viewer.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from engine.contract.motion_edit import MotionEdit
from engine.nano.edited_motion import edited_life, edited_points
from engine.nano.life import BODY, GAZE, POSE, Life
from engine.nano.living_face import calm_lids, control_motion, move_lids, tie_lids
from engine.nano.mouth_range import fit_mouth
from engine.sampling.tasks import FRAMES_PER_LATENT

GRID = 8
CHANNELS = 16
VERTICES = 468

POINT_GROUPS: tuple[tuple[str, tuple[int, int, int, int]], ...] = (
    ("brow right", (70, 105, 107, 52)),
    ("forehead", (10, 109, 338, 151)),
    ("brow left", (300, 334, 336, 282)),
    ("slots", (-1, -1, -1, -1)),
    ("eye right", (160, 158, 144, 153)),
    ("nose", (1, 168, 98, 327)),
    ("eye left", (387, 385, 373, 380)),
    ("cheeks", (50, 205, 280, 425)),
    ("outer lip, upper", (40, 37, 267, 270)),
    ("inner lip, upper", (80, 82, 312, 310)),
    ("inner lip, middle", (13, 14, 78, 308)),
    ("corners and outer middle", (61, 0, 291, 17)),
    ("outer lip, lower", (91, 84, 314, 321)),
    ("inner lip, lower", (88, 87, 317, 318)),
    ("chin", (152, 176, 400, 18)),
    ("jaw", (172, 136, 365, 397)),
)
"""Sixteen groups in reading order, four in a row; the slots' group holds no points."""

LIP_GROUPS = (
    "outer lip, upper",
    "inner lip, upper",
    "inner lip, middle",
    "corners and outer middle",
    "outer lip, lower",
    "inner lip, lower",
    "chin",
    "jaw",
)
"""What lip-sync generates: the whole lower face, or the jaw would give the answer away."""

SLOTS = ("yaw", "pitch", "roll", "x", "y", "scale", "teeth", "tongue")
"""Angles in radians, x and y in face heights, scale as a logarithm; all against the reference's pose. In the slots'
group cell i holds slot 2i and 2i + 1 as its two values."""

_POSE_SLOTS = 6
_POSE_SIGMA_FRAMES = 2
"""A head's sway is below some 2 Hz. Eight slots are a small part of a latent, and a small model leaves steps where
latent frames meet, 6 a second, which this Gaussian takes out."""

CONTROL_POINTS = np.array([p for _, group in POINT_GROUPS for p in group if p >= 0])
STABLE_POINTS = np.array([10, 109, 338, 127, 356, 234, 454, 33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2])
"""Vertices that speech and expression hardly move; the head's pose is fitted to them."""
EARS = (234, 454)
HAIRLINE, CHIN = 10, 152
_NECK = np.array([0.0, 0.35, 0.35], np.float32)
"""What the head turns about, in the head-normalised frame: the top of the neck, behind the jaw."""


@dataclass(frozen=True)
class FaceReference:
    """A picture's face, ready to be moved. `shape` [468, 3] is head-normalised; `rotation` [3, 3], `scale_px` and
    `origin_px` [3] bring it back: landmarks_px = scale_px * shape @ rotation.T + origin_px."""

    picture: np.ndarray
    landmarks_px: np.ndarray
    shape: np.ndarray
    rotation: np.ndarray
    scale_px: float
    origin_px: np.ndarray


@dataclass(frozen=True)
class FaceMotion:
    """What to draw: `landmarks_px` float32 [F, 468, 3], `teeth` and `tongue` float32 [F] in [0, 1].

    `gaze` [F, 2] is how far the irises stand from where they look in the picture, in mm (outer eye corners 90 apart);
    `body` [F, 2] how far the shoulders move, in face heights.
    """

    landmarks_px: np.ndarray
    teeth: np.ndarray
    tongue: np.ndarray
    gaze: np.ndarray
    body: np.ndarray


@dataclass(frozen=True)
class LipMotion:
    """A mouth that speaks, to be put on any frame of the same face. `places` [F, 120] are where the lip and jaw points
    should be, head-normalised, `is_lip` [60] says which points those are, `teeth` and `tongue` are [F]."""

    places: np.ndarray
    is_lip: np.ndarray
    teeth: np.ndarray
    tongue: np.ndarray
    ridge: np.ndarray
    mean_face: np.ndarray

    def on(self, landmarks_px: np.ndarray, frame: float) -> tuple[np.ndarray, float, float]:
        """`landmarks_px` [468, 3] with this mouth as it is at `frame`, which may lie between two; teeth and tongue."""
        rotation, scale_px, origin_px = fit_pose(landmarks_px, self.mean_face)
        shape = (landmarks_px - origin_px) @ rotation / scale_px
        at = np.arange(len(self.places))
        low = int(np.clip(np.floor(frame), 0, len(at) - 1))
        high, share = min(low + 1, len(at) - 1), float(np.clip(frame - low, 0, 1))
        places = (self.places[low] * (1 - share) + self.places[high] * share).reshape(-1, 2)
        change = np.where(self.is_lip[:, None], places - shape[CONTROL_POINTS, :2], 0.0)
        moved = shape.copy()
        moved[:, :2] += (change.reshape(-1) @ self.ridge).reshape(VERTICES, 2)
        teeth, tongue = (
            float(values[low] * (1 - share) + values[high] * share) for values in (self.teeth, self.tongue)
        )
        return (moved @ rotation.T * scale_px + origin_px).astype(np.float32), teeth, tongue


class FaceMotionAutoencoder(nn.Module):
    """Buffers: `mean_face` [468, 3]; `position_std`, `motion_std` [60, 2]; `slot_std` [8]; `ridge` [120, 936]."""

    mean_face: Tensor
    position_std: Tensor
    motion_std: Tensor
    slot_std: Tensor
    ridge: Tensor

    def __init__(self) -> None:
        super().__init__()
        points = len(CONTROL_POINTS)
        self.register_buffer("mean_face", torch.zeros(VERTICES, 3))
        self.register_buffer("position_std", torch.ones(points, 2))
        self.register_buffer("motion_std", torch.ones(points, 2))
        self.register_buffer("slot_std", torch.ones(len(SLOTS)))
        self.register_buffer("ridge", torch.zeros(points * 2, VERTICES * 2))

    def reference(self, picture: np.ndarray, landmarks_px: np.ndarray) -> FaceReference:
        """Take the pose out of a still picture's face: `picture` uint8 [H, W, 3], `landmarks_px` [468, 3]."""
        rotation, scale_px, origin_px = fit_pose(landmarks_px, self.mean_face.numpy())
        shape = (landmarks_px - origin_px) @ rotation / scale_px
        return FaceReference(picture, landmarks_px, shape.astype(np.float32), rotation, scale_px, origin_px)

    def encode(self, landmarks_px: np.ndarray, reference: FaceReference) -> Tensor:
        """A filmed face, `landmarks_px` [F, 468, 3] with F = 4n + 1, against `reference` → latents [1, 16, T, 8, 8].

        Teeth and tongue are not seen by landmarks; teeth follow the lips' opening and the tongue rests.
        """
        shapes, slots = [], []
        for frame in landmarks_px:
            rotation, scale_px, origin_px = fit_pose(frame, self.mean_face.numpy())
            shape = (frame - origin_px) @ rotation / scale_px
            shapes.append(shape)
            slots.append(_pose_slots(rotation, scale_px, origin_px, shape, reference))
        return self.pack(_control_points(np.array(shapes)), _control_points(reference.shape), torch.tensor(slots)[None])

    def encode_reference(self, reference: FaceReference) -> Tensor:
        """The latent [1, 16, 1, 8, 8] of the still picture itself."""
        points = _control_points(reference.shape)
        return self.pack(points[:, None], points, points.new_zeros(1, 1, len(SLOTS)))

    def pack(self, points: Tensor, reference: Tensor, slots: Tensor) -> Tensor:
        """Head-normalised `points` [B, F, 60, 2], `reference` [B, 60, 2] and `slots` [B, F, 8] → [B, 16, T, 8, 8]."""
        position = (points - self.mean_face[CONTROL_POINTS, :2]) / self.position_std
        motion = (points - reference[:, None]) / self.motion_std
        values = points.new_zeros(*points.shape[:2], GRID * GRID, 4)
        values[:, :, _POINT_CELLS] = torch.cat([position, motion], dim=3)
        pairs = (slots / self.slot_std).unflatten(2, (-1, 2))
        values[:, :, _SLOT_CELLS] = torch.cat([pairs, pairs], dim=3)
        return _fold(values)

    def unpack(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [B, 16, T, 8, 8] → the points' motion [B, F, 60, 2] in face heights, and the slots [B, F, 8]."""
        values = _unfold(latents)
        motion = values[:, :, _POINT_CELLS, 2:] * self.motion_std
        slots = values[:, :, _SLOT_CELLS, 2:].flatten(2) * self.slot_std
        return motion, slots

    def decode_motion(
        self,
        latents: Tensor,
        reference: FaceReference,
        life: Life | None = None,
        edit: MotionEdit | None = None,
    ) -> FaceMotion:
        """Latents [1, 16, T, 8, 8] → where every vertex of `reference` goes in its picture, frame by frame.

        Both eyes close alike. A `life` brings blinks of its own instead of the model's, beside all else that it adds;
        its last frame is held where it is shorter. An `edit` scales what both of them do.
        """
        motion, slots = (part[0].detach().numpy() for part in self.unpack(latents))
        motion = motion.copy()
        fit_mouth(motion, reference.shape, CONTROL_POINTS, _is_lip())
        tie_lids(motion, CONTROL_POINTS)
        if life is None:
            life = Life.none(len(motion))
        else:
            calm_lids(motion, CONTROL_POINTS)
        life = life.part(0, len(motion))
        if edit is not None and not edit.changes_nothing:
            life = edited_life(life, edit)
            motion = edited_points(
                motion,
                edit,
                reference.shape,
                ridge=self.ridge.numpy(),
                control_points=CONTROL_POINTS,
                is_lip=_is_lip(),
            )
        motion += control_motion(life, reference.shape, CONTROL_POINTS)
        shapes = np.repeat(reference.shape[None], len(motion), axis=0)
        shapes[:, :, :2] += (motion.reshape(len(motion), -1) @ self.ridge.numpy()).reshape(-1, VERTICES, 2)
        move_lids(shapes, life)
        turned = _turn(shapes, life.own_sway * self.decode_pose(latents) + life.tracks[:, POSE])
        landmarks_px = turned @ reference.rotation.T * reference.scale_px + reference.origin_px
        teeth, tongue = np.clip(slots[:, _POSE_SLOTS:], 0, 1).T
        gaze, body = (life.tracks[:, columns].astype(np.float32) for columns in (GAZE, BODY))
        return FaceMotion(landmarks_px.astype(np.float32), teeth.copy(), tongue.copy(), gaze, body)

    def decode_pose(self, latents: Tensor) -> np.ndarray:
        """Latents [1, 16, T, 8, 8] → yaw, pitch, roll, x, y and scale against the picture, as drawn, [F, 6]."""
        _, slots = self.unpack(latents)
        return _steady(slots[0, :, :_POSE_SLOTS].detach().numpy())

    def decode_lips(self, latents: Tensor, reference: FaceReference) -> LipMotion:
        """Latents [1, 16, T, 8, 8] → what lips and jaw of `reference` do, free of the head's pose."""
        motion, slots = (part[0].detach().numpy().copy() for part in self.unpack(latents))
        fit_mouth(motion, reference.shape, CONTROL_POINTS, _is_lip())
        teeth, tongue = np.clip(slots[:, _POSE_SLOTS:], 0, 1).T
        places = (_control_points(reference.shape)[0].numpy() + motion).reshape(len(motion), -1)
        return LipMotion(places, _is_lip(), teeth, tongue, self.ridge.numpy(), self.mean_face.numpy())


def _is_lip() -> np.ndarray:
    """Which of CONTROL_POINTS lip-sync generates, bool [60]."""
    return np.array([name in LIP_GROUPS for name, group in POINT_GROUPS for point in group if point >= 0])


def _control_points(shapes: np.ndarray) -> Tensor:
    """`shapes` [..., 468, 3] → x and y of the control points, [1, ..., 60, 2]."""
    return torch.from_numpy(np.ascontiguousarray(shapes[..., CONTROL_POINTS, :2], dtype=np.float32))[None]


def _cells() -> tuple[list[int], list[int]]:
    """Cells of the points in the order of CONTROL_POINTS, and those of the slots, on the flattened 8x8 grid."""
    point_cells: list[int] = []
    slot_cells: list[int] = []
    for group, (_, points) in enumerate(POINT_GROUPS):
        row, column = divmod(group, GRID // 2)
        for index, point in enumerate(points):
            cell = (2 * row + index // 2) * GRID + 2 * column + index % 2
            (slot_cells if point < 0 else point_cells).append(cell)
    return point_cells, slot_cells


_POINT_CELLS, _SLOT_CELLS = _cells()


def slot_cells() -> Tensor:
    """1 where the 8x8 grid holds slots, 0 where it holds points: [8, 8]."""
    cells = torch.zeros(GRID * GRID)
    cells[_SLOT_CELLS] = 1.0
    return cells.unflatten(0, (GRID, GRID))


def point_cells(values: Tensor) -> Tensor:
    """`values` [60], one per point of CONTROL_POINTS, where the 8x8 grid holds the point; 0 for the slots: [8, 8]."""
    cells = torch.zeros(GRID * GRID)
    cells[_POINT_CELLS] = values
    return cells.unflatten(0, (GRID, GRID))


def lip_cells() -> Tensor:
    """1 where the 8x8 grid holds what a voice moves, lips, chin, jaw, teeth and tongue; 0 elsewhere: [8, 8]."""
    cells = torch.zeros(GRID * GRID)
    for group, (name, points) in enumerate(POINT_GROUPS):
        if name in LIP_GROUPS:
            row, column = divmod(group, GRID // 2)
            for index in range(len(points)):
                cells[(2 * row + index // 2) * GRID + 2 * column + index % 2] = 1.0
    cells[_SLOT_CELLS[SLOTS.index("teeth") // 2]] = 1.0
    return cells.unflatten(0, (GRID, GRID))


def _fold(values: Tensor) -> Tensor:
    """[B, F, 64, 4] → [B, 16, T, 8, 8], the first frame repeated x4."""
    padded = torch.cat([values[:, :1].expand(-1, FRAMES_PER_LATENT - 1, -1, -1), values], dim=1)
    groups = padded.unflatten(1, (-1, FRAMES_PER_LATENT)).unflatten(3, (GRID, GRID))
    return groups.permute(0, 2, 5, 1, 3, 4).flatten(1, 2)


def _unfold(latents: Tensor) -> Tensor:
    """[B, 16, T, 8, 8] → [B, F, 64, 4], of the first latent's four frames the last alone."""
    groups = latents.unflatten(1, (FRAMES_PER_LATENT, -1)).permute(0, 3, 1, 4, 5, 2)
    return groups.flatten(1, 2).flatten(2, 3)[:, FRAMES_PER_LATENT - 1 :]


def fit_pose(landmarks_px: np.ndarray, mean_face: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Rotation [3, 3], scale in pixels per face height and origin [3] of a face [468, 3] (Kabsch-Umeyama).

    The rotation is the best fit of the mean face's stable points; scale and origin are the face's own: its height, and
    the middle between its ears.
    """
    source, target = mean_face[STABLE_POINTS], landmarks_px[STABLE_POINTS]
    covariance = (target - target.mean(0)).T @ (source - source.mean(0))
    u, _, vt = np.linalg.svd(covariance.astype(np.float64))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ flip @ vt).astype(np.float32)
    unturned = landmarks_px @ rotation
    spread = source - source.mean(0)
    fitted = unturned[STABLE_POINTS]
    scale_px = float(np.sum((fitted - fitted.mean(0))[:, :2] * spread[:, :2]) / np.sum(spread[:, :2] ** 2))
    return rotation, scale_px, landmarks_px[list(EARS)].mean(0)


def _pose_slots(
    rotation: np.ndarray, scale_px: float, origin_px: np.ndarray, shape: np.ndarray, reference: FaceReference
) -> list[float]:
    """The slots that make `_turn` reproduce this pose from the reference's."""
    relative = reference.rotation.T @ rotation
    yaw, pitch, roll = _angles(relative)
    scale = scale_px / reference.scale_px
    origin = (origin_px - reference.origin_px) @ reference.rotation / reference.scale_px
    x, y = (origin - (_NECK - scale * _NECK @ relative.T))[:2]
    gap = float(np.linalg.norm(shape[13, :2] - shape[14, :2]))
    return [yaw, pitch, roll, float(x), float(y), float(np.log(scale)), float(np.clip(gap / 0.05, 0, 1)), 0.0]


def _steady(pose: np.ndarray) -> np.ndarray:
    """`pose` [F, 6] without what is too fast for a head; the first and the last frame stay as they are."""
    margin = min(len(pose) - 1, 4 * _POSE_SIGMA_FRAMES)
    padded = np.pad(pose, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    return gaussian_filter1d(padded, _POSE_SIGMA_FRAMES, axis=0)[margin : margin + len(pose)]


def _turn(shapes: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """`shapes` [F, 468, 3] turned about the neck, scaled and moved by `pose` [F, 6]."""
    rotations = np.stack([_rotation(*row[:3]) for row in pose])
    scales = np.exp(np.clip(pose[:, 5], -0.3, 0.3))[:, None, None]
    turned = shapes @ np.swapaxes(rotations, 1, 2) * scales
    pivot = _NECK - (_NECK @ np.swapaxes(rotations, 1, 2)) * scales[:, 0]
    turned += pivot[:, None]
    turned[:, :, :2] += pose[:, None, 3:5]
    return turned


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Roll, then pitch, then yaw, as a matrix [3, 3] for column vectors."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (turn @ nod @ tilt).astype(np.float32)


def _angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """The (yaw, pitch, roll) of a `_rotation`."""
    pitch = float(np.arcsin(np.clip(-rotation[1, 2], -1, 1)))
    return float(np.arctan2(rotation[0, 2], rotation[2, 2])), pitch, float(np.arctan2(rotation[1, 0], rotation[1, 1]))
