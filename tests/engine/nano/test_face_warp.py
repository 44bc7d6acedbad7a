"""What a warped frame must keep of the portrait, and what it must show."""

from itertools import pairwise

import numpy as np
import pytest

from engine.nano.face_mesh import INNER_LIPS, LEFT_EYE, RIGHT_EYE, HeadFrame, opening_loop
from engine.nano.face_warp import FaceWarp
from engine.nano.mouth_palette import luminance
from engine.nano.sprites import cut_out
from trainer.metrics.mouth_light import mouth_light


def opened(portrait, opening_mm: float) -> np.ndarray:
    """The portrait's landmarks with the lips `opening_mm` apart: a falling jaw and a slightly lifted upper lip."""
    points = portrait.landmarks_px.astype(float)
    frame = HeadFrame(points)
    middle = points[[13, 14]].mean(0)
    x, y = ((points - middle) @ frame.axes_px.T / frame.px_per_mm**2)[:, :2].T
    half_width = 0.5 * np.ptp(x[list(INNER_LIPS[0])])
    bow = np.clip(1 - (x / (1.3 * half_width)) ** 2, 0, 1)
    below = np.clip((y + 1) / 12, 0, 1) * np.clip(1 - (np.abs(x) - 25) / 40, 0, 1)
    lower, upper = [*INNER_LIPS[1][1:-1]], [*INNER_LIPS[0][1:-1]]
    below[lower], below[upper] = bow[lower], 0
    extra = opening_mm - frame.opening_mm(points)
    points += (0.86 * extra * below)[:, None] * frame.axes_px[1]
    points[upper] -= (0.14 * extra * bow[upper])[:, None] * frame.axes_px[1]
    return points.astype(np.float32)


def blinking(portrait, share: float) -> np.ndarray:
    points = portrait.landmarks_px.copy()
    for upper, lower in (RIGHT_EYE, LEFT_EYE):
        points[list(upper)] += share * (portrait.landmarks_px[list(lower)] - points[list(upper)])
    return points


def turned(portrait, degrees: float, shift_px: float = 0.0) -> np.ndarray:
    points = portrait.landmarks_px.astype(float)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pivot = points[[234, 454]].mean(0)
    return ((points - pivot) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T + pivot + [0, shift_px, 0]).astype(
        np.float32
    )


def between_lips(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    pixels, inside, _ = cut_out(frame, points[opening_loop(INNER_LIPS), :2], 1)
    return pixels[inside > 0].astype(float)


def test_unmoved_landmarks_give_the_picture_back(portrait):
    frame = FaceWarp(portrait.picture, portrait.landmarks_px).render(portrait.landmarks_px)
    np.testing.assert_array_equal(frame, portrait.picture)


def test_outside_the_falloff_box_every_pixel_is_the_pictures(portrait):
    before = portrait.picture.copy()
    warp = FaceWarp(portrait.picture, portrait.landmarks_px)
    x0, y0, x1, y1 = warp.falloff_box_px
    frame = warp.render(turned(portrait, 12, shift_px=10))
    changed = (frame != before).any(2)
    assert changed.any(), "a turned head moves something"
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    np.testing.assert_array_equal(portrait.picture, before)


def test_same_landmarks_give_the_same_frame_whatever_was_drawn_before(hopper):
    warp = FaceWarp(hopper.picture, hopper.landmarks_px)
    first = warp.render(opened(hopper, 7), teeth=0.7, tongue=0.3)
    kept = first.copy()
    warp.render(turned(hopper, -9), teeth=0.0, tongue=1.0)
    warp.render(4 * (hopper.landmarks_px - hopper.landmarks_px[5]) + hopper.landmarks_px[5])  # far over the rings
    np.testing.assert_array_equal(warp.render(opened(hopper, 7), teeth=0.7, tongue=0.3), kept)
    np.testing.assert_array_equal(first, kept)


def test_facemesh_sees_the_mouth_open_monotonically(portrait, find_landmarks):
    warp = FaceWarp(portrait.picture, portrait.landmarks_px)
    seen = []
    for opening_mm in (0, 5, 10, 16):
        points = find_landmarks(warp.render(opened(portrait, opening_mm)))
        seen.append(np.linalg.norm(points[13, :2] - points[14, :2]) / np.linalg.norm(points[33, :2] - points[263, :2]))
    assert (np.diff(seen) > 0.01).all(), seen


def test_closed_lids_cover_the_iris(astronaut):
    warp = FaceWarp(astronaut.picture, astronaut.landmarks_px)
    frame = warp.render(blinking(astronaut, 1.0))
    for upper, lower in (RIGHT_EYE, LEFT_EYE):
        middle = astronaut.landmarks_px[[upper[4], lower[4]], :2].mean(0) - [0, 1]
        x, y = middle.astype(int)
        iris, lid = (
            luminance(p[y - 1 : y + 2, x - 1 : x + 2].astype(float)).mean() for p in (astronaut.picture, frame)
        )
        skin_x, skin_y = astronaut.landmarks_px[[50, 280], :2].mean(0).astype(int)
        assert lid > iris + 0.35 * (luminance(astronaut.picture[skin_y, skin_x].astype(float)) - iris)


def test_lips_that_close_hide_the_teeth_of_a_smile(astronaut):
    warp = FaceWarp(astronaut.picture, astronaut.landmarks_px)
    closed = opened(astronaut, 0.0)
    smile = luminance(between_lips(astronaut.picture, astronaut.landmarks_px))
    assert (smile > 200).sum() > 50, "the portrait shows teeth"
    lips_px, _, _ = cut_out(warp.render(closed), closed[opening_loop(INNER_LIPS)][3:8, :2], 2)
    assert (luminance(lips_px.astype(float)) > 215).mean() < 0.1


def test_upper_teeth_stand_still_on_the_skull_whatever_is_said(hopper):
    warp, points = FaceWarp(hopper.picture, hopper.landmarks_px), opened(hopper, 9)
    x, y = points[13, :2].astype(int)
    per_mm = HeadFrame(hopper.landmarks_px.astype(float)).px_per_mm
    rows = slice(y, y + round(2.2 * per_mm))  # of the upper teeth, above their edge
    drawn = [warp.render(points, teeth=teeth)[rows, x - 12 : x + 12] for teeth in (0.0, 0.5, 0.8, 1.0)]
    for other in drawn[1:]:
        np.testing.assert_allclose(other.astype(int), drawn[0].astype(int), atol=6)


def test_the_inside_of_a_mouth_is_neither_a_hole_nor_all_teeth(portrait):
    """Lips alone part here; where the jaw falls with them, a voice's videos are judged by `goals`."""
    warp = FaceWarp(portrait.picture, portrait.landmarks_px)
    faces = [opened(portrait, mm) for mm in (6.0, 8.0, 10.0, 13.0)]
    inside = mouth_light([warp.render(points) for points in faces], faces)
    assert inside is not None and inside.frames == 4
    assert inside.dark <= 0.2 and inside.pale >= 0.2 and 0.35 < inside.median < 0.95


def test_an_opening_mouth_changes_smoothly(portrait):
    warp = FaceWarp(portrait.picture, portrait.landmarks_px)
    rest_mm = HeadFrame(portrait.landmarks_px.astype(float)).opening_mm(portrait.landmarks_px)
    box = portrait.landmarks_px[[61, 291, 0, 152], :2]
    x0, y0, x1, y1 = *box.min(0).astype(int), *box.max(0).astype(int)
    frames = [warp.render(opened(portrait, rest_mm + mm))[y0:y1, x0:x1].astype(float) for mm in np.arange(-1, 5, 0.2)]
    steps = np.array([np.abs(b - a).mean() for a, b in pairwise(frames)])
    assert steps.max() < 6.0
    assert steps.max() < 5 * np.median(steps)


def test_teeth_and_tongue_show_when_asked(hopper):
    warp = FaceWarp(hopper.picture, hopper.landmarks_px)
    points = opened(hopper, 9)
    dark, toothy, tongue = (
        luminance(between_lips(warp.render(points, teeth=t, tongue=g), points)) for t, g in ((0, 0), (1, 0), (0, 1))
    )
    assert toothy.mean() > dark.mean() + 3
    assert tongue.mean() > dark.mean() + 5


def test_a_grey_picture_stays_grey(hopper):
    grey = np.repeat(luminance(hopper.picture.astype(float)).round().astype(np.uint8)[..., None], 3, axis=2)
    warp = FaceWarp(grey, hopper.landmarks_px)
    for frame in (warp.render(opened(hopper, 12), teeth=1.0, tongue=1.0), warp.render(blinking(hopper, 1.0))):
        assert np.ptp(frame.astype(int), axis=2).max() <= 3


@pytest.mark.parametrize("scale", [0.3, -1.0, 4.0])
def test_absurd_landmarks_are_bounded_by_the_falloff_box(hopper, scale):
    warp = FaceWarp(hopper.picture, hopper.landmarks_px)
    centre = hopper.landmarks_px.mean(0)
    frame = warp.render((hopper.landmarks_px - centre) * scale + centre, teeth=9.0, tongue=-3.0)
    x0, y0, x1, y1 = warp.falloff_box_px
    changed = (frame != hopper.picture).any(2)
    changed[y0:y1, x0:x1] = False
    assert not changed.any()


def test_a_face_cut_by_the_pictures_edge_still_speaks(hopper):
    left, top = hopper.landmarks_px[:, :2].min(0).astype(int) + 20
    cut = np.ascontiguousarray(hopper.picture[top:, left:])
    points = hopper.landmarks_px - np.array([left, top, 0], np.float32)
    frame = FaceWarp(cut, points).render(opened(hopper, 9) - np.array([left, top, 0], np.float32))
    assert (frame != cut).any()
    assert frame.shape == cut.shape


def test_landmarks_of_another_mesh_are_refused(hopper):
    with pytest.raises(ValueError, match=r"\[468, 3\]"):
        FaceWarp(hopper.picture, np.zeros((478, 3), np.float32))
