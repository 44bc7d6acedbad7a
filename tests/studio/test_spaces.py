"""On a Space strangers share two cores, and the disk is gone after a restart."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.contract.errors import UserError
from studio.label_backup import LabelBackup, bring_back
from studio.review.clips import ClipFolder
from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.queue import upcoming
from studio.review.rows import AnswerRow, BatchRow, ItemRow
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


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Callable[[str], ReviewStore]]:
    """Review stores by the names of the disks that they are on."""
    opened: list[Database] = []

    def store(name: str) -> ReviewStore:
        opened.append(Database(f"sqlite:///{tmp_path / name}.sqlite"))
        return ReviewStore(opened[-1], read_issues())

    yield store
    for database in opened:
        database.close()


def with_clips(reviews: ReviewStore, title: str, numbers: range) -> int:
    batch = reviews.add_batch(title, "lead", overlap=2, stage="S1").id
    clips = [small_clip(number) for number in numbers]
    for clip in clips:
        reviews.keep_clip(clip)
    reviews.add_items(batch, [(clip.id, None) for clip in clips])
    return batch


def press(reviews: ReviewStore, batch: int, annotator: str = "ada") -> None:
    item = upcoming(reviews.database, annotator, batch)[0]
    reviews.press(annotator, batch, key(item.id, "mark", issue="jitter"))
    reviews.press(annotator, batch, key(item.id, "bad"))


def events_in(folder: Path) -> list[dict]:
    lines = [line for path in sorted(folder.glob("events-*.jsonl")) for line in path.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda event: event["number"])


def test_every_label_event_is_copied_once_across_restarts(stores: Callable[[str], ReviewStore], tmp_path: Path):
    reviews, folder = stores("disk"), tmp_path / "events"
    batch = with_clips(reviews, "Batch", range(3))
    backup = LabelBackup(reviews.database, folder)
    assert backup.copy() == 0
    press(reviews, batch)
    assert (backup.copy(), backup.copy()) == (2, 0)
    (first,) = folder.glob("events-*.jsonl")
    kept = first.read_bytes()
    press(reviews, batch)
    assert LabelBackup(reviews.database, folder).copy() == 2  # another process, with files of its own
    assert first.read_bytes() == kept
    events = events_in(folder)
    assert [event["kind"] for event in events] == ["mark", "bad"] * 2
    assert {event["clip_id"] for event in events} < {small_clip(number).id for number in range(3)}
    assert len({event["client_id"] for event in events}) == 4


def told(reviews: ReviewStore) -> list[tuple]:
    """Every answer, by what stays the same in another database."""
    query = (
        select(BatchRow.title, BatchRow.stage, ItemRow.clip_id, ItemRow.said, ItemRow.answers, AnswerRow)
        .join(ItemRow, ItemRow.id == AnswerRow.item_id)
        .join(BatchRow, BatchRow.id == AnswerRow.batch_id)
    )
    with reviews.database.reading() as session:
        return sorted(
            (*about, row.annotator, row.verdict, row.issues, row.note) for *about, row in session.execute(query)
        )


def test_a_space_that_lost_its_disk_has_its_labels_back_once(stores: Callable[[str], ReviewStore], tmp_path: Path):
    dataset = tmp_path / "dataset"
    first = stores("first")
    batch = with_clips(first, "Batch", range(3))
    for annotator in ("ada", "ben"):
        press(first, batch, annotator)
    first.press("ben", batch, key(1, "undo"))
    first.press("ben", batch, key(1, "undo"))  # both of the keys
    LabelBackup(first.database, dataset).copy()

    second = stores("second")
    other = with_clips(second, "Another", range(5, 7))  # has the numbers that the first one's had
    press(second, other, "cleo")
    clips = ClipFolder(tmp_path / "clips", second)
    elsewhere = bring_back(second, clips, lambda: dataset)
    assert len(elsewhere) == 6 and bring_back(second, clips, lambda: dataset) == elsewhere
    assert told(second) == sorted([*told(first), *(each for each in told(second) if each[0] == "Another")])
    backup = LabelBackup(second.database, tmp_path / "local", elsewhere)
    backup.copy()
    assert {event["annotator"] for event in events_in(tmp_path / "local")} == {"cleo"}
    restored = next(each.id for each in second.batches() if each.title == "Batch")
    assert upcoming(second.database, "dora", restored) == []  # there is no video to show

    for path in (tmp_path / "local").iterdir():
        path.rename(dataset / path.name)
    third = stores("third")
    bring_back(third, clips, lambda: dataset)
    assert told(third) == told(second)
    undone = next(each.id for each in third.batches() if each.title == "Batch")
    third.press("ada", undone, key(1, "undo"))  # as far back as ever
    third.press("ada", undone, key(1, "undo"))
    with pytest.raises(UserError, match="nothing to undo"):
        third.press("ada", undone, key(1, "undo"))


def test_a_dataset_that_is_not_there_or_broken_is_one_notice(
    stores: Callable[[str], ReviewStore], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    reviews, dataset = stores("disk"), tmp_path / "dataset"
    clips = ClipFolder(tmp_path / "clips", reviews)

    def nowhere() -> Path:
        raise OSError("401 Client Error\nmore of it")

    assert bring_back(reviews, clips, nowhere) == frozenset()
    (said,) = caplog.messages
    assert "could not be brought back" in said and "401" in said and "\n" not in said
    press(reviews, with_clips(reviews, "Batch", range(1)))
    LabelBackup(reviews.database, dataset).copy()
    for path in dataset.glob("events-*"):
        path.write_text(path.read_text()[:-5] + "\n{}\n")
    for path in dataset.glob("clips-*"):
        path.unlink()
    caplog.clear()
    bring_back(stores("other"), clips, lambda: dataset)
    assert caplog.messages == ["0 label events were brought back, 1 could not be placed."]
