"""What the result column compares, and how a row of a job says what it is."""

from types import SimpleNamespace

from studio.job_views import queue_list
from studio.tabs.result import _made_of, what_differs


def job(number: int, *, state: str = "done", picture: str = "a", **request) -> SimpleNamespace:
    given = {"task": "talking-head", "seed": 1, "prompt": "", "settings": {"guidance": {"audio": 2.0}}, "out": "o.mp4"}
    record = {"inputs_sha256": {"image": picture, "audio": "v"}}
    return SimpleNamespace(
        stop_request=None,
        id=f"job{number}",
        number=number,
        state=state,
        request=given | request,
        record=record,
        created_s=0.0,
        progress=None,
    )


def test_only_videos_of_the_same_files_are_compared_and_what_differs_is_said():
    one, other = job(1), job(2, seed=7, settings={"guidance": {"audio": 3.0}})
    assert _made_of(one) == _made_of(other) != _made_of(job(3, picture="b"))
    assert _made_of(one) != _made_of(job(4, task="half-body"))
    assert what_differs(one, other) == "seed 1, settings.guidance.audio 2.0"
    assert what_differs(one, job(5)) == "the same settings"


def test_rows_say_their_state_and_every_delete_asks():
    html = queue_list([job(1, state="running"), job(2, state="queued"), job(3, state="paused")], [job(4)])
    assert [f"data-state='{state}'" in html for state in ("running", "queued", "paused", "done")] == [True] * 4
    assert html.count("data-act='delete'") == html.count("data-sure=") == 3
    assert "Delete this video and its files?" in html
    assert queue_list([]) == ""
