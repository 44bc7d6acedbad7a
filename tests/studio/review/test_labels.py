"""Marks as the trainer reads them, and the list of issues."""

from pathlib import Path

import pytest

from engine.contract.errors import UserError
from studio.review.issues import read_issues
from studio.review.labels import Mark, negative_issue, read_key_press, side_of
from studio.words import CHINESE_WORDS


@pytest.mark.parametrize(
    ("span_s", "frames"),
    [(None, (0, 50)), ((0.0, 0.04), (0, 1)), ((0.2, 0.6), (5, 15)), ((0.19, 0.61), (4, 16)), ((1.99, 9.0), (49, 50))],
)
def test_a_span_is_every_frame_that_it_touches(span_s, frames):
    issue = negative_issue(read_issues()["blur"], Mark(span_s=span_s), num_frames=50, fps=25.0)
    assert issue.frames == frames
    assert issue.phase == "detail"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"client_id": "short"}, "client_id"),
        ({"kind": "love"}, "kind"),
        ({"mark": {"severity": 4}}, "severity"),
        ({"mark": {"span_s": [2, 1]}}, "span"),
        ({"mark": {"region": [0.5, 0, 0.4, 1]}}, "region"),
        ({"mark": {"region": [0, 0, 2, 1]}}, "region"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_key_press_that_is_none_is_refused(values, words):
    with pytest.raises(UserError, match=words):
        read_key_press({"client_id": "x" * 16, "item": 1, "kind": "mark"} | values)


def test_left_and_right_are_the_sides_that_were_shown():
    assert [side_of("left", swapped=swapped) for swapped in (False, True)] == ["a", "b"]
    assert [side_of("right", swapped=swapped) for swapped in (False, True)] == ["b", "a"]
    assert side_of("tie", swapped=True) == "tie"


def test_the_issues_have_keys_of_their_own_and_chinese_names():
    issues = read_issues()
    assert len(issues) == 12
    assert all(issue.title in CHINESE_WORDS for issue in issues.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("issues: [{id: a, key: '1', phase: motion, title: A}, {id: a, key: '2', phase: motion, title: B}]", "twice"),
        ("issues: [{id: a, key: '1', phase: motion, title: A}, {id: b, key: '1', phase: motion, title: B}]", "twice"),
        ("issues: [{id: a, key: g, phase: motion, title: A}]", "player"),
        ("issues: [{id: a, key: '1', phase: late, title: A}]", "phase"),
        ("nothing", "issues"),
    ],
)
def test_a_list_of_issues_that_cannot_work_is_refused(text: str, words: str, tmp_path: Path):
    path = tmp_path / "issues.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_issues(path)
