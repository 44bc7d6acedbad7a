"""Before and now: what is held against what, and what is said of the difference."""

from dataclasses import replace

import pytest

from engine.contract.comparison import Comparison, Seen
from engine.contract.request import build_request
from engine.contract.variants import NANO
from studio.comparison import pinned, sentence, shown


def seen(opening_mm: float, head_mm: float = 0.0) -> Seen:
    return Seen((opening_mm,) * 30, ((head_mm, 0.0),) * 30)


def compared(after: Seen, *, before_mm: float = 10.0) -> Comparison:
    return Comparison(b"mp4", seen(before_mm), after, chance=seen(10.2, 0.2))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (seen(7.7), "Mouth 23 % less open, head as before."),
        (seen(12.0), "Mouth 20 % more open, head as before."),
        (seen(10.1, 3.25), "Mouth as before, head 3.2 mm elsewhere."),
    ],
)
def test_one_sentence_says_what_changed(after, said):
    assert sentence(compared(after)) == said


def test_what_another_seed_does_is_the_measure():
    small = compared(seen(10.1))
    assert "less than another seed" in sentence(small)
    assert "another seed" not in sentence(replace(small, chance=seen(10.05, 0.05)))
    assert "another seed" not in sentence(compared(seen(10.0, 5.0))), "the head alone is enough"


def test_a_mouth_that_never_opened_is_no_division_by_zero():
    assert compared(seen(0.0), before_mm=0.0).wider == 0.0


def test_both_lines_are_drawn_and_the_video_is_silent():
    html = shown(compared(seen(5.0)))
    assert html.count("<polyline") == 2 and "muted" in html and "data:video/mp4;base64" in html
    was, now = (line.split("points='")[1].split("'")[0].split()[0] for line in html.split("<polyline")[1:])
    assert float(was.split(",")[1]) < float(now.split(",")[1]), "wider stands higher"


def test_what_is_changed_is_held_against_the_video_that_is_followed_and_keeps_its_seed(job_of):
    asked = {"image": "a.png", "audio": "a.wav", "model": "nano", "out": "o.mp4"}
    after = build_request(asked | {"seed": 9}, {"guidance.audio": 5.0})
    job = job_of(build_request(asked | {"seed": 4}, {"guidance.audio": 2.0}))
    before, now = pinned(after, job)
    assert (before.seed, now.seed) == (4, 4)
    assert (before.settings.guidance.audio, now.settings.guidance.audio) == (2.0, 5.0)
    alone, now = pinned(after, None)
    assert alone.settings == NANO.default_settings and alone.seed == now.seed


@pytest.fixture
def job_of():
    def made(request):
        class Followed:
            request: dict

        followed = Followed()
        followed.request = request.model_dump(mode="json")
        return followed

    return made
