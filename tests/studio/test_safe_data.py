"""What is kept survives a damaged file, a wrong clock and a kill; and it is this account's alone."""

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from engine.contract.request import GenerationRequest
from studio.clock import SteadyClock
from studio.housekeeping import data_folder, sweep
from studio.jobs import JobStore
from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.store import ReviewStore
from studio.safe_copies import MOST_COPIES, check_database, copies_of, keep_daily_copy
from tests.studio.test_visitors import a_record

HOUR_S = 3600.0


def with_jobs(folder: Path, asked: GenerationRequest) -> Path:
    store = JobStore(folder)
    for _ in range(200):  # more than fits a page
        store.submit(":me", asked)
    store.close()
    return folder / "jobs.sqlite"


def with_labels(folder: Path, _: GenerationRequest) -> Path:
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'review.sqlite'}")
    reviews = ReviewStore(database, read_issues())
    for number in range(200):
        reviews.add_batch(f"Batch {number} " + "x" * 200, "lead")
    database.close()
    return folder / "review.sqlite"


def opened(path: Path) -> None:
    if path.name == "jobs.sqlite":
        JobStore(path.parent).close()
    else:
        Database(f"sqlite:///{path}").close()


def noise(content: bytes) -> bytes:
    return os.urandom(len(content))


def zeroed_page(content: bytes) -> bytes:
    size = int.from_bytes(content[16:18], "big")
    middle = len(content) // size // 2 * size
    return content[:middle] + bytes(size) + content[middle + size :]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def header_only(content: bytes) -> bytes:
    return content[:100]


@pytest.mark.parametrize("made", [with_jobs, with_labels])
@pytest.mark.parametrize("damaged", [noise, zeroed_page, half, header_only])
def test_a_damaged_database_is_one_line_that_says_what_to_do_and_its_copy_opens(
    tmp_path: Path, asked: GenerationRequest, made: Callable, damaged: Callable
):
    path = made(tmp_path / "data", asked)
    copy = keep_daily_copy(path)
    before = path.read_bytes()
    path.write_bytes(damaged(before))
    with pytest.raises(UserError) as said:
        opened(path)
    assert "\n" not in said.value.message and str(path) in said.value.message and str(copy) in said.value.message
    assert keep_daily_copy(path) is None and copies_of(path) == [copy]  # it is not copied over the sound one
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(copy.read_bytes())
    opened(path)


def test_without_a_copy_it_says_how_to_begin_anew(tmp_path: Path, asked: GenerationRequest):
    path = with_jobs(tmp_path / "data", asked)
    path.write_bytes(noise(path.read_bytes()))
    with pytest.raises(UserError, match="a new one is made at the next start"):
        opened(path)
    path.unlink()
    opened(path)


def test_an_emptied_database_is_not_taken_for_a_new_one(tmp_path: Path, asked: GenerationRequest):
    path = with_jobs(tmp_path / "data", asked)
    keep_daily_copy(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="empty"):
        check_database(path, "data")


def test_a_copy_is_made_once_a_day_while_it_is_written_to_and_the_newest_are_kept(
    tmp_path: Path, store: JobStore, asked: GenerationRequest
):
    path = store.folder / "jobs.sqlite"
    for day in range(1, MOST_COPIES + 3):
        (path.parent / "copies").mkdir(exist_ok=True)
        (path.parent / "copies" / f"jobs-2020010{day}.sqlite").touch()
    store.submit(":me", asked)
    copy = keep_daily_copy(path)
    assert copy is not None and keep_daily_copy(path) is None
    assert len(copies_of(path)) == MOST_COPIES and copies_of(path)[-1] == copy
    with sqlite3.connect(copy) as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    database.close()


def ended_job(store: JobStore, asked: GenerationRequest) -> str:
    store.submit(":me", asked)
    job = store.claim_next()
    assert job is not None
    store.complete(job.id, a_record(asked))
    return job.id


@pytest.mark.parametrize("jump_s", [3 * HOUR_S, -3 * HOUR_S, 400 * 24 * HOUR_S])
def test_a_clock_that_jumps_deletes_nothing(
    store: JobStore, asked: GenerationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
):
    uploads = tmp_path / "uploads"
    (uploads / "mine").mkdir(parents=True)
    jobs = [ended_job(store, asked)]
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + jump_s)
    sweep(store, uploads, 2 * HOUR_S)
    jobs.append(ended_job(store, asked))  # made while the clock is wrong
    sweep(store, uploads, 2 * HOUR_S)
    monkeypatch.setattr(time, "time", right)
    sweep(store, uploads, 2 * HOUR_S)
    assert all(store.find(job, ":me") for job in jobs)
    assert (uploads / "mine").is_dir()


def test_a_clock_that_was_ahead_at_the_start_and_is_set_right_deletes_nothing(
    store: JobStore, asked: GenerationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job = ended_job(store, asked)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 3 * HOUR_S)
    restarted = JobStore(store.folder)
    monkeypatch.setattr(time, "time", right)
    sweep(restarted, tmp_path / "uploads", 2 * HOUR_S)
    assert restarted.find(job, ":me")
    restarted.close()


def test_what_is_old_still_goes(store: JobStore, asked: GenerationRequest, tmp_path: Path):
    job = ended_job(store, asked)
    sweep(store, tmp_path / "uploads", -1.0)
    assert store.find(job, ":me") is None


def test_the_steady_clock_goes_on(monkeypatch: pytest.MonkeyPatch):
    clock = SteadyClock()
    first = clock.now_s()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    time.sleep(0.01)
    assert 0.005 < clock.now_s() - first < 5.0


def test_what_a_kill_left_half_written_is_swept_and_nothing_else(store: JobStore, asked: GenerationRequest):
    job = store.submit(":me", asked)
    folder = store.folder_of(job.id)
    (folder / "resume").mkdir()
    half_written = [
        folder / name for name in (".x.k2j.partial", ".export.export-me.mp4", "preview.new", "partial-draft.mp4")
    ]
    half_written.append(folder / ".export.export-meTEMP_MPY_wvf_snd.mp4")
    half_written += [folder / "resume" / "state.partial", folder / "resume" / "steps.new"]
    whole = [folder / name for name in ("partial-me-20260101-1.mp4", "image-my.partial", "resume/state.safetensors")]
    for path in (*half_written, *whole):
        path.touch()
    store.recover()
    assert not [path for path in half_written if path.exists()]
    assert all(path.exists() for path in whole) and (folder / job.request["image"]).is_file()


def test_what_is_kept_is_closed_to_other_accounts(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "jobs.sqlite").touch(0o644)
    (folder / "speakers" / "run").mkdir(parents=True)
    (folder / "speakers" / "run" / "training.json").touch(0o644)
    JobStore(data_folder(folder)).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in (folder / "jobs.sqlite", folder / "speakers" / "run" / "training.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "somebodys.txt").touch()
    data_folder(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755  # not ours to close


def test_a_full_disk_is_said_when_a_job_is_sent(
    store: JobStore, asked: GenerationRequest, monkeypatch: pytest.MonkeyPatch
):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")
    taken = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda source, target: taken(source, full))
    with pytest.raises(UserError, match="disk is full"):
        store.submit(":me", asked)
    assert store.count() == 0 and not list(store.files.iterdir())
