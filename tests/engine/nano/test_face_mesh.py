"""The mesh's geometry: what is a surface stays one, what is outside stays put."""

import numpy as np
import pytest

from engine.nano.face_mesh import (
    FACE_OVAL,
    INNER_LIPS,
    OPENINGS,
    RING_POSITIONS,
    HeadMotion,
    Rings,
    doubled_areas_px2,
    keep_openings_ordered,
    opening_triangles,
    skin_triangles,
    transform,
    unfold,
)


def edge_counts(triangles: np.ndarray) -> np.ndarray:
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [0, 2]]].reshape(-1, 2), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def turned(points: np.ndarray, pivot: np.ndarray, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (points - pivot) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T + pivot


def test_skin_and_openings_together_are_one_sheet_bordered_by_the_oval():
    counts = edge_counts(np.concatenate([skin_triangles(), opening_triangles()]))
    assert set(counts.tolist()) == {1, 2}
    assert (counts == 1).sum() == len(FACE_OVAL)
    assert len(skin_triangles()) == 852


def test_skin_leaves_out_eyes_and_mouth():
    outlines = [{*upper, *lower} for upper, lower in OPENINGS]
    assert (edge_counts(skin_triangles()) == 1).sum() == len(FACE_OVAL) + sum(len(o) for o in outlines)


def test_rings_continue_the_skin_without_a_seam(hopper):
    rings = Rings.around(hopper.landmarks_px, *hopper.size_px)
    counts = edge_counts(np.concatenate([skin_triangles(), opening_triangles(), rings.triangles]))
    assert (counts == 1).sum() == len(FACE_OVAL), "only the outermost ring is a border"


def test_rings_stay_within_the_picture_and_the_outermost_never_moves(hopper):
    rest = hopper.landmarks_px.astype(float)
    width, height = hopper.size_px
    rings = Rings.around(rest, width, height)
    assert (rings.rest_px[:, :2] >= -1e-6).all()
    assert (rings.rest_px[:, :2] <= np.array([width, height]) + 1e-6).all()
    target = turned(rest, rest.mean(0), 10) + np.array([5.0, 8.0, 0.0])
    moved = rings.move(rest, target, HeadMotion(rest).fit(target))
    outermost = slice((len(RING_POSITIONS) - 1) * len(FACE_OVAL), None)
    np.testing.assert_allclose(moved[outermost], rings.rest_px[outermost], atol=1e-9)
    assert np.abs(moved - rings.rest_px).max() > 5


@pytest.mark.parametrize("degrees", [-12, 0, 7])
def test_head_motion_finds_a_turn_of_the_skull_and_ignores_the_jaw(hopper, degrees):
    rest = hopper.landmarks_px.astype(float)
    target = turned(rest, rest.mean(0), degrees)
    expected = target.copy()
    target[list(INNER_LIPS[1])] += [0, 20, 0]
    found = transform(HeadMotion(rest).fit(target), rest)
    assert np.abs(found - expected)[:, :2].max() < 0.02 * np.ptp(rest[:, 1])


def test_crossed_lips_meet_halfway_and_parted_lips_are_left_alone(hopper):
    down = np.array([0.0, 1.0])
    points = hopper.landmarks_px.astype(float)
    upper, lower = INNER_LIPS[0][5], INNER_LIPS[1][5]
    points[lower, 1] = points[upper, 1] - 6
    middle = 0.5 * (points[lower, 1] + points[upper, 1])
    keep_openings_ordered(points, down)
    assert points[lower, 1] == pytest.approx(middle) == points[upper, 1]
    points[lower, 1] += 9
    kept = points.copy()
    keep_openings_ordered(points, down)
    np.testing.assert_array_equal(points, kept)


def test_a_lip_pushed_over_its_own_rim_is_smoothed_flat_and_the_rest_stays(hopper):
    rest = hopper.landmarks_px.astype(float)
    triangles = skin_triangles()
    areas = doubled_areas_px2(rest, triangles)
    triangles, areas = triangles[np.abs(areas) > 1], areas[np.abs(areas) > 1]
    folded = rest.copy()
    folded[list(INNER_LIPS[1][3:8]), 1] += 0.08 * np.ptp(rest[:, 1])
    mended = folded.copy()
    unfold(rest, mended, triangles, areas)
    assert (doubled_areas_px2(folded, triangles) / areas).min() < -0.5
    assert (doubled_areas_px2(mended, triangles) / areas).min() > -0.1
    np.testing.assert_array_equal(mended[FACE_OVAL[0]], folded[FACE_OVAL[0]])
