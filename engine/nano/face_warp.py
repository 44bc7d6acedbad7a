"""One frame of a talking portrait: the user's own picture, its FaceMesh vertices moved to new places.

The picture is the texture of the face's triangles and of rings round them; eyeballs stay where the skull carries them
while the lids slide over them; the mouth's inside is painted. Where the person is told from the background they are a
layer of their own with a soft edge, and what they uncover is made up; elsewhere the rings fade the motion out. Only the
box round the outermost ring is drawn: beyond it every pixel is the picture's. Knows nothing about where the vertices
come from. The paper decodes pixels with a VAE; this is nano's decoder, which keeps the picture's full resolution on a
CPU.
"""

import cv2
import numpy as np
import skia

from engine.media.person import layers, plate
from engine.nano.eyelids import Eye
from engine.nano.face_mesh import (
    INNER_LIPS,
    LEFT_EYE,
    NUM_LANDMARKS,
    RIGHT_EYE,
    HeadFrame,
    HeadMotion,
    Rings,
    doubled_areas_px2,
    keep_openings_ordered,
    opening_triangles,
    skin_triangles,
    unfold,
)
from engine.nano.mouth_interior import MouthInterior
from engine.nano.mouth_palette import LIP_LAYERS, Palette, snap_inner_lips
from engine.nano.person_mesh import PersonMesh
from engine.nano.sprites import image

MOST_DOWN_MM = 1.5
"""Further up or down an iris would leave the lids, which show it whole nowhere."""
MIN_TRIANGLE_PX2 = 1.0  # doubled area below which a triangle at rest says nothing about its orientation


def _surface_sampling() -> skia.SamplingOptions:
    """Cubic convolution with a = -0.75, OpenCV's: it leaves an unmoved picture as it is, like Catmull-Rom (-0.5),
    and keeps more detail of a moved one. Linear sampling blurs it and is slower here."""
    kernel = skia.CubicResampler.CatmullRom()
    kernel.C = 0.75
    return skia.SamplingOptions(kernel)


SURFACE_SAMPLING = _surface_sampling()


class FaceWarp:
    """Draws frames of one portrait. Not safe to share between threads: frames are drawn on one canvas."""

    falloff_box_px: tuple[int, int, int, int]
    """x0, y0, x1, y1 (exclusive) of the outermost ring: outside it every pixel equals the picture's, bit for bit."""

    def __init__(self, picture: np.ndarray, landmarks_px: np.ndarray, matte: np.ndarray | None = None) -> None:
        """picture uint8 RGB [H, W, 3]; landmarks_px float [468, 3], x and y in pixels, z on the same scale.

        `matte` float [H, W] is the person's share of every pixel (`engine.media.person`); None draws one layer.
        """
        if landmarks_px.shape != (NUM_LANDMARKS, 3):
            raise ValueError(f"landmarks_px must be [{NUM_LANDMARKS}, 3]; got {list(landmarks_px.shape)}")
        height, width = picture.shape[:2]
        self._picture = picture
        self._given_px = landmarks_px.astype(np.float64)
        self._frame = HeadFrame(self._given_px)
        palette = Palette(picture, self._given_px, self._frame.opening_mm(self._given_px))
        self._lip_shift_px = snap_inner_lips(picture, self._given_px, palette)
        self._rest_px = self._given_px + self._lip_shift_px
        self._head = HeadMotion(self._rest_px)
        self._matte = matte
        self._rings = (
            Rings.around(self._rest_px, width, height) if matte is None else PersonMesh.over(self._rest_px, matte)
        )
        stays = self._rings.stays if isinstance(self._rings, PersonMesh) else np.zeros(len(self._rings.triangles), bool)
        self._still, moving = self._rings.triangles[stays], self._rings.triangles[~stays]
        outline = np.vstack([self._rest_px, self._rings.rest_px])[np.unique(moving), :2]
        x0, y0 = np.clip(np.floor(outline.min(0)).astype(int), 0, [width - 1, height - 1])
        x1, y1 = np.clip(np.ceil(outline.max(0)).astype(int), [x0 + 1, y0 + 1], [width, height])
        self.falloff_box_px = (int(x0), int(y0), int(x1), int(y1))
        self._mouth = MouthInterior(picture, self._rest_px, self._frame, palette)
        self._eyes = [Eye(picture, self._rest_px, opening, self._frame) for opening in (RIGHT_EYE, LEFT_EYE)]
        self._prepare_mesh(moving)
        self._prepare_canvas()

    def _prepare_mesh(self, moving: np.ndarray) -> None:
        skin = np.concatenate([moving, _far_first(skin_triangles(), self._rest_px)])
        self._all_rest_px = np.vstack([self._rest_px, self._rings.rest_px])
        areas = doubled_areas_px2(self._all_rest_px, skin)
        solid = np.abs(areas) >= MIN_TRIANGLE_PX2
        self._solid, self._solid_areas = skin[solid], areas[solid]
        self._indices = np.concatenate([skin, opening_triangles()]).ravel().tolist()
        x0, y0, _, _ = self.falloff_box_px
        self._texture_points = [skia.Point(x, y) for x, y in (self._all_rest_px[:, :2] - [x0, y0]).tolist()]

    def _prepare_canvas(self) -> None:
        x0, y0, x1, y1 = self.falloff_box_px
        piece = self._picture[y0:y1, x0:x1]
        if self._matte is None:
            self._box = np.ascontiguousarray(cv2.cvtColor(piece, cv2.COLOR_RGB2RGBA))
            surface = image(self._box, opaque=True)
        else:
            behind = plate(self._picture, self._matte)[y0:y1, x0:x1]
            person, behind = layers(piece, self._matte[y0:y1, x0:x1], behind)
            self._box = np.ascontiguousarray(cv2.cvtColor(behind, cv2.COLOR_RGB2RGBA))
            surface = skia.Image.fromarray(person, skia.kRGBA_8888_ColorType, skia.kPremul_AlphaType, copy=True)
        self._drawn = self._box.copy()
        self._canvas = skia.Surface(self._drawn, skia.kRGBA_8888_ColorType, skia.kOpaque_AlphaType).getCanvas()
        self._canvas.translate(-x0, -y0)
        shader = surface.makeShader(skia.TileMode.kClamp, skia.TileMode.kClamp, SURFACE_SAMPLING)
        self._paint = skia.Paint(Shader=shader)
        if len(self._still):  # drawn once; without indices skia would join the points as they come
            self._draw_skin(self._all_rest_px, self._still.ravel().tolist())
            np.copyto(self._box, self._drawn)

    def _draw_skin(self, places_px: np.ndarray, indices: list[int]) -> None:
        points = [skia.Point(x, y) for x, y in places_px[:, :2].tolist()]
        mesh = skia.Vertices(skia.Vertices.kTriangles_VertexMode, points, self._texture_points, None, indices)
        self._canvas.drawVertices(mesh, self._paint, skia.BlendMode.kSrcOver)

    def render(
        self,
        landmarks_px: np.ndarray,
        teeth: float = 0.5,
        tongue: float = 0.0,
        *,
        look_mm: np.ndarray | None = None,
        body: np.ndarray | None = None,
    ) -> np.ndarray:
        """The frame, a new uint8 RGB [H, W, 3], with the face's vertices at `landmarks_px` float [468, 3].

        The head's pose is part of the positions. `teeth` in [0, 1] brings the lower row up to the upper one, `tongue`
        in [0, 1] raises its tip. `look_mm` [2] slides the irises, right and down; `body` [2] moves the shoulders, in
        face heights, where the person is a layer of their own. Continuous in every input; positions that would fold the
        skin over are smoothed.
        """
        target_px = self._snapped(landmarks_px.astype(np.float64))
        head = self._head.fit(target_px)
        keep_openings_ordered(target_px, self._frame.down)
        moved_px = np.vstack([target_px, self._rings.move(self._rest_px, target_px, head, body)])
        unfold(self._all_rest_px, moved_px, self._solid, self._solid_areas)
        target_px = moved_px[:NUM_LANDMARKS]
        keep_openings_ordered(target_px, self._frame.down)

        np.copyto(self._drawn, self._box)
        self._draw_skin(moved_px, self._indices)
        look = self._within_reach(look_mm)
        for eye in self._eyes:
            eye.draw(self._canvas, target_px, head, look)
        self._mouth.draw(self._canvas, target_px, head, float(np.clip(teeth, 0, 1)), float(np.clip(tongue, 0, 1)))
        return self._framed()

    def _within_reach(self, look_mm: np.ndarray | None) -> np.ndarray:
        """What both eyes can follow: they look the same way, or neither does."""
        reach_mm = min(eye.reach_mm for eye in self._eyes)
        if look_mm is None or reach_mm == 0:
            return np.zeros(2)
        return np.array([np.clip(look_mm[0], -reach_mm, reach_mm), np.clip(look_mm[1], -MOST_DOWN_MM, MOST_DOWN_MM)])

    def _snapped(self, target_px: np.ndarray) -> np.ndarray:
        """The lips' points moved to their true rims, the less the nearer they are to closing: closed stays closed."""
        upper, lower = (list(chain) for chain in INNER_LIPS)
        rest_gap, gap = ((p[lower, :2] - p[upper, :2]) @ self._frame.down for p in (self._given_px, target_px))
        share = np.clip(gap / np.maximum(rest_gap, 1e-3), 0.0, 1.0)[:, None]
        for rims in (INNER_LIPS, *LIP_LAYERS):
            for layer in rims:
                target_px[list(layer[1:-1])] += (share * self._lip_shift_px[list(layer)])[1:-1]
        return target_px

    def _framed(self) -> np.ndarray:
        x0, y0, x1, y1 = self.falloff_box_px
        frame = self._picture.copy()
        frame[y0:y1, x0:x1] = cv2.cvtColor(self._drawn, cv2.COLOR_RGBA2RGB)
        return frame


def _far_first(triangles: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """Triangles in drawing order: where a turned cheek overlaps, the nearer one is drawn last."""
    return triangles[np.argsort(-points_px[triangles, 2].mean(1), kind="stable")]
