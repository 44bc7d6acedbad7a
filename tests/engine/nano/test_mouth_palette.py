"""What is read off a portrait's mouth."""

import numpy as np

from engine.nano.face_mesh import INNER_LIPS, HeadFrame
from engine.nano.mouth_palette import Palette, luminance, snap_inner_lips


def palette_of(portrait, picture: np.ndarray | None = None) -> Palette:
    points = portrait.landmarks_px.astype(float)
    return Palette(portrait.picture if picture is None else picture, points, HeadFrame(points).opening_mm(points))


def test_a_smile_gives_its_own_enamel_and_a_closed_mouth_gives_none(hopper, astronaut):
    assert palette_of(astronaut).shows_teeth
    assert not palette_of(hopper).shows_teeth


def test_teeth_are_told_from_lips(astronaut):
    palette = palette_of(astronaut)
    assert palette.tooth_likeness(palette.tooth) == 1
    assert palette.tooth_likeness(palette.lip) == 0
    assert palette.tooth_likeness(palette.cavity) == 0


def test_teeth_are_paler_than_skin_and_the_cavity_is_dark(portrait):
    palette = palette_of(portrait)
    assert np.ptp(palette.tooth) / palette.tooth.mean() < np.ptp(palette.lip) / palette.lip.mean()
    assert luminance(palette.cavity) < 0.35 * luminance(palette.lip) < luminance(palette.tooth)


def test_darker_light_gives_darker_teeth(hopper):
    assert luminance(palette_of(hopper, hopper.picture // 2).tooth) < 0.6 * luminance(palette_of(hopper).tooth)


def test_inner_lip_points_that_lie_on_the_teeth_are_led_back_to_the_lip(astronaut):
    given = astronaut.landmarks_px.astype(float)
    lower = list(INNER_LIPS[1][3:8])
    misplaced = given.copy()
    misplaced[lower, 1] -= 2.5
    shift = snap_inner_lips(astronaut.picture, misplaced, palette_of(astronaut))
    assert shift[lower, 1].mean() > 1.2
    assert np.abs((misplaced + shift - given)[lower, 1]).max() < 2.5


def test_closed_lips_are_not_snapped(hopper):
    points = hopper.landmarks_px.astype(float)
    assert not snap_inner_lips(hopper.picture, points, palette_of(hopper)).any()
