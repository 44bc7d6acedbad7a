"""What the page shows is escaped, in the right place, and says the same as the job."""

import re

import pytest

from studio.job_rows import Job
from studio.ports import PortraitView, Readiness
from studio.views import clock, ended_card, error_line, portrait_card, progress_card, readiness_pill, result_facts

EVIL = "<script>alert('x')</script>"


def job(**changes) -> Job:
    values = {
        "number": 1,
        "id": "id",
        "owner": "me",
        "state": "running",
        "position": 1.0,
        "request": {"seed": 7},
        "progress": None,
        "preview_version": 0,
        "stop_request": None,
        "error": None,
        "error_field": None,
        "record": None,
        "created_s": 0.0,
        "started_s": None,
        "finished_s": None,
    }
    return Job(**values | changes)


def progress(stage: str, done: int = 3, total: int = 8, left: float | None = 12.0) -> dict[str, object]:
    return {"stage": stage, "done": done, "total": total, "fraction": 0.43, "seconds_left": left}


def test_what_a_user_wrote_never_becomes_markup():
    shown = [
        error_line(EVIL),
        ended_card(job(state="failed", error=EVIL)),
        readiness_pill("Nano", Readiness(False, EVIL)),
        portrait_card(PortraitView(b"", "image/jpeg", 1, 1, (), EVIL)),
        result_facts(
            {
                "request": {"seed": 1, "model": "nano"},
                "width_px": 2,
                "height_px": 2,
                "num_frames": 25,
                "fps": 25,
                "notices": [EVIL],
                "settings_by_step": [],
            },
            1.0,
        ),
    ]
    assert not any("<script" in html for html in shown)


def test_faces_are_drawn_where_they_are_and_only_the_first_is_chosen():
    html = portrait_card(PortraitView(b"", "image/jpeg", 100, 50, ((0.1, 0.2, 0.4, 0.8), (0.6, 0.3, 0.7, 0.5))))
    frames = re.findall(r"<i class='([^']+)' style='([^']+)' data-box", html)
    assert frames[0] == ("em-face em-chosen", "left:10.00%;top:20.00%;width:30.00%;height:60.00%")
    assert [classes for classes, _ in frames[1:]] == ["em-face"]
    assert "2 faces found" in html


def test_progress_says_stage_step_share_and_time_left():
    html = progress_card(job(progress=progress("sampling")))
    assert "step 3 of 8" in html
    assert "aria-valuenow='43'" in html
    assert "about 12 s left" in html
    assert html.count("class='past'") == 3
    assert html.count("class='now'") == 1


@pytest.mark.parametrize(("ahead", "words"), [(0, "Next in line"), (2, "Waiting for 2 earlier")])
def test_a_waiting_job_says_its_place(ahead: int, words: str):
    assert words in progress_card(job(state="queued"), ahead)


def test_a_job_that_is_being_cancelled_promises_no_time():
    html = progress_card(job(progress=progress("sampling"), stop_request="cancel"))
    assert "Stopping" in html
    assert "left<" not in html


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.42, "7.4 s"), (42.4, "42 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s")]
)
def test_clock(seconds: float, words: str):
    assert clock(seconds) == words


def test_how_long_the_wait_is_and_how_long_a_video_stays_are_said():
    waiting = progress_card(job(state="queued"), 2, 125.0)
    assert "Waiting for 2 earlier" in waiting and "about 2 min 05 s left" in waiting
    record = {"request": {"seed": 1, "model": "nano"}, "width_px": 2, "height_px": 2, "num_frames": 25, "fps": 25}
    facts = record | {"notices": [], "settings_by_step": []}
    assert "deleted in 1 h 59 min" in result_facts(facts, 1.0, 7141.0)
    assert "deleted" not in result_facts(facts, 1.0)
