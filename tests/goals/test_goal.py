"""A goal is measured, kept and written; what fails, falls short or was built so says it."""

import json

import numpy as np
import pytest

from goals.__main__ import PARTS, main, part_of
from goals.goal import KEPT_NAME, Measured, Part, Place, Row, at_least, at_most, mean_interval, share_interval, within


@pytest.fixture
def part() -> Part:
    part = Part("toy", "A toy", "How to read it.")

    @part.goal("good")
    def good(place: Place) -> Measured:
        return Measured(
            [at_most("cost", 1.0, 2.0), Row("built so", "0", "0", True, by_construction=True)], "## Details"
        )

    @part.goal("short")
    def short(place: Place) -> list[Row]:
        return [at_least("gain", 0.5, 0.9, more=" (told)")]

    @part.goal("broken")
    def broken(place: Place) -> list[Row]:
        raise OSError("no room")

    return part


def test_a_page_holds_what_was_met_what_fell_short_and_what_failed(part, tmp_path):
    assert not part.run(Place(tmp_path, tmp_path), [], tmp_path)
    page = (tmp_path / "toy.md").read_text()
    assert "| cost | ≤ 2 | 1.00 | met | `good` |" in page
    assert "| built so | 0 | 0 | by construction | `good` |" in page
    assert "| gain | ≥ 0.9 | 0.50 (told) | **short** | `short` |" in page
    assert "failed: OSError: no room" in page and "2 of 4 rows are short" in page
    assert "## Details" in page and "How to read it." in page


def test_one_row_measured_again_keeps_the_others(part, tmp_path):
    part.run(Place(tmp_path, tmp_path), [], tmp_path)
    assert part.run(Place(tmp_path, tmp_path), ["good"], tmp_path)
    assert set(json.loads((tmp_path / KEPT_NAME).read_text())["toy"]) == {"good", "short", "broken"}
    assert "`short`" in (tmp_path / "toy.md").read_text()


def test_a_part_that_was_not_measured_says_so(part, tmp_path):
    part.run(Place(tmp_path, tmp_path), ["good"], tmp_path)
    assert "Not measured: short, broken." in (tmp_path / "toy.md").read_text()


def test_a_band_is_missed_on_both_sides():
    assert [within("w", value, 1.5, 2.4).met for value in (1.4, 1.5, 2.0, 2.4, 2.5)] == [False, True, True, True, False]


def test_intervals_are_those_of_the_textbook():
    assert share_interval(170, 188) == pytest.approx((0.854, 0.939), abs=0.001)
    assert share_interval(0, 0) == (0.0, 1.0)
    values = np.random.default_rng(0).normal(5, 1, 400)
    low, high = mean_interval(values)
    assert low < values.mean() < high and high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_goals(name):
    assert part_of(name).goals and part_of(name).name == name


def test_the_command_lists_refuses_and_says_why(capsys, tmp_path):
    assert main([]) == 0
    assert "engine: parity" in capsys.readouterr().out
    assert main(["engine", "--row", "speed"]) == 2 and "Unknown row 'speed'" in capsys.readouterr().err
    assert main(["engine", "--set", "kills"]) == 2 and "NAME=VALUE" in capsys.readouterr().err


def test_a_cheap_row_of_the_real_engine_is_measured(tmp_path):
    flags = ["--row", "forwards", "--out", str(tmp_path / "out"), "--videos", str(tmp_path / "videos")]
    assert main(["engine", *flags]) == 0
    assert "by construction" in (tmp_path / "out" / "engine.md").read_text()
