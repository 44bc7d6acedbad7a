"""On a Space strangers share two cores, and the disk is gone after a restart."""

import json
from pathlib import Path

import pytest

from studio.label_backup import LabelBackup
from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.queue import upcoming
from studio.review.store import ReviewStore
from studio.spaces import surroundings
from tests.studio.review.small_clips import key, small_clip


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "HF_TOKEN", "ECHOMIMIC_LABELS_DATASET", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_at_home_nothing_is_limited_and_nobody_else_can_come():
    here = surroundings()
    assert here.host == "127.0.0.1"
    assert here.jobs_each is here.jobs is here.keep_hours is here.labels_dataset is None


def test_a_space_listens_to_all_limits_everybody_and_forgets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    here = surroundings()
    assert (here.host, here.port) == ("0.0.0.0", 7860)
    assert here.jobs_each and here.jobs and here.keep_hours
    assert here.labels_dataset is None  # no token, no copy
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert surroundings().labels_dataset == "someone/studio-labels"


def press(reviews: ReviewStore, batch: int) -> None:
    item = upcoming(reviews.database, "ada", batch)[0]
    reviews.press("ada", batch, key(item.id, "mark", issue="jitter"))
    reviews.press("ada", batch, key(item.id, "bad"))


def events_in(folder: Path) -> list[dict]:
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda event: event["number"])


def test_every_label_event_is_copied_once_across_restarts(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'review.sqlite'}")
    reviews, folder = ReviewStore(database, read_issues()), tmp_path / "events"
    batch = reviews.add_batch("Batch", "lead").id
    clips = [small_clip(number) for number in range(3)]
    for clip in clips:
        reviews.keep_clip(clip)
    reviews.add_items(batch, [(clip.id, None) for clip in clips])
    backup = LabelBackup(database, folder)
    assert backup.copy() == 0
    press(reviews, batch)
    assert (backup.copy(), backup.copy()) == (2, 0)
    (first,) = folder.glob("*.jsonl")
    kept = first.read_bytes()
    press(reviews, batch)
    assert LabelBackup(database, folder).copy() == 2  # another process, with a file of its own
    assert first.read_bytes() == kept
    events = events_in(folder)
    assert [event["kind"] for event in events] == ["mark", "bad"] * 2
    assert {event["clip_id"] for event in events} < {clip.id for clip in clips}
    assert len({event["client_id"] for event in events}) == 4
    database.close()
