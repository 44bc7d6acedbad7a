"""Laws of the job store: nothing is lost, nothing is shown to a stranger, nothing is taken twice."""

import shutil
import threading
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from engine.contract.progress import Progress
from engine.contract.request import GenerationRequest
from studio.job_rows import JobRow
from studio.jobs import JobStore
from tests.studio.conftest import request_for


def sampling(step: int, preview: bytes | None = None) -> Progress:
    return Progress(stage="sampling", done=step, total=8, fraction=step / 8, seconds_left=3.0, preview=preview)


def test_what_is_sent_twice_is_queued_once(store: JobStore, asked: GenerationRequest):
    first = store.submit("me", asked, once="click")
    assert store.submit("me", asked, once="click") == first
    others = {store.submit(owner, asked, once=once).id for owner, once in (("me", "another"), ("you", "click"))}
    assert len(others | {first.id}) == 3
    assert (store.count("me"), store.count("you")) == (2, 1)


def test_a_job_keeps_its_own_copies_of_its_inputs(store: JobStore, asked: GenerationRequest, tmp_path: Path):
    moved = tmp_path / "mine.jpg"
    shutil.copy(asked.image, moved)
    job = store.submit("me", request_for(moved, asked.audio))
    moved.unlink()
    kept = store.request_of(job)
    assert kept.image.read_bytes() == asked.image.read_bytes()
    assert kept.audio.read_bytes() == asked.audio.read_bytes()
    assert kept.settings == asked.settings
    assert kept.out.parent == kept.image.parent


def test_an_input_that_is_gone_is_said_beside_its_field_and_leaves_no_job(store: JobStore, asked: GenerationRequest):
    gone = request_for(Path("not-here.jpg"), asked.audio)
    with pytest.raises(UserError) as caught:
        store.submit("me", gone)
    assert caught.value.field == "image"
    assert store.recent("me") == []
    assert list(store.files.iterdir()) == []


def test_file_names_that_no_shell_likes_become_plain_ones(store: JobStore, asked: GenerationRequest, tmp_path: Path):
    odd = tmp_path / "böse; rm -rf $HOME 'x'.JPG"
    shutil.copy(asked.image, odd)
    job = store.submit("me", request_for(odd, asked.audio))
    assert set(job.request["image"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZö-_.0123456789")


def test_ids_cannot_be_guessed_and_strangers_find_nothing(store: JobStore, asked: GenerationRequest):
    jobs = [store.submit("me", asked) for _ in range(20)]
    assert len({job.id for job in jobs}) == 20
    assert all(len(job.id) >= 20 for job in jobs)
    assert store.find(jobs[0].id, "me") == jobs[0]
    assert store.find(jobs[0].id, "you") is None
    assert store.recent("you") == []
    store.request_stop(jobs[0].id, "you", "cancel")
    assert store.find(jobs[0].id, "me").state == "queued"


def test_jobs_are_claimed_in_the_order_they_were_asked_for(store: JobStore, asked: GenerationRequest):
    jobs = [store.submit(f"owner {index % 3}", asked) for index in range(6)]
    assert [store.jobs_ahead(job) for job in jobs] == list(range(6))
    assert [store.claim_next().id for _ in jobs] == [job.id for job in jobs]
    assert store.claim_next() is None


def test_no_job_is_claimed_twice_by_racing_workers(store: JobStore, asked: GenerationRequest):
    jobs = {store.submit("me", asked).id for _ in range(24)}
    claimed: list[str] = []

    def claim() -> None:
        while (job := store.claim_next()) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(jobs)


def test_everything_is_still_there_after_the_store_is_opened_again(store: JobStore, asked: GenerationRequest):
    queued, running = store.submit("me", asked), store.submit("me", asked)
    store.request_stop(queued.id, "me", "cancel")
    store.claim_next()
    store.report(running.id, sampling(3, preview=b"a picture"))
    store.close()

    reopened = JobStore(store.folder)
    assert reopened.recover() == 1
    again = reopened.find(running.id, "me")
    assert again.state == "interrupted"
    assert again.progress["done"] == 3
    assert reopened.preview_of(again) == b"a picture"
    assert reopened.find(queued.id, "me").state == "cancelled"
    assert reopened.recover() == 0
    reopened.close()


def test_the_data_folder_can_be_moved(store: JobStore, asked: GenerationRequest, tmp_path: Path):
    job = store.submit("me", asked)
    store.close()
    moved = JobStore(shutil.move(store.folder, tmp_path / "elsewhere"))
    assert moved.request_of(moved.find(job.id, "me")).image.is_file()
    moved.close()


@pytest.mark.parametrize("end", ["interrupted", "cancelled", "failed"])
def test_a_job_that_did_not_finish_can_be_run_again_with_the_same_request(
    store: JobStore, asked: GenerationRequest, end: str
):
    job = store.submit("me", asked)
    store.claim_next()
    store.report(job.id, sampling(2))
    if end == "failed":
        store.fail(job.id, "The audio is empty.", "audio")
    else:
        getattr(store, end)(job.id)
    assert store.find(job.id, "me").state == end
    assert store.run_again(job.id, "you") is None

    again = store.run_again(job.id, "me")
    assert (again.state, again.progress, again.error, again.error_field) == ("queued", None, None, None)
    assert again.request == job.request
    assert store.claim_next().id == job.id


def test_a_running_or_waiting_job_is_not_started_twice(store: JobStore, asked: GenerationRequest):
    job = store.submit("me", asked)
    assert store.run_again(job.id, "me") is None
    store.claim_next()
    assert store.run_again(job.id, "me") is None


def test_cancelling_ends_a_waiting_job_and_only_asks_a_running_one(store: JobStore, asked: GenerationRequest):
    running, waiting = store.submit("me", asked), store.submit("me", asked)
    store.claim_next()
    store.request_stop(running.id, "me", "cancel")
    store.request_stop(waiting.id, "me", "cancel")
    assert store.find(running.id, "me").state == "running"
    assert store.stop_requested(running.id) == "cancel"
    assert store.find(waiting.id, "me").state == "cancelled"
    assert store.claim_next() is None


def test_a_job_that_has_ended_takes_no_more_reports(store: JobStore, asked: GenerationRequest):
    job = store.submit("me", asked)
    store.claim_next()
    store.cancelled(job.id)
    store.report(job.id, sampling(5))
    store.fail(job.id, "too late")
    ended = store.find(job.id, "me")
    assert (ended.state, ended.progress, ended.error) == ("cancelled", None, None)


def test_every_preview_counts_up_so_that_a_page_knows_a_new_one(store: JobStore, asked: GenerationRequest):
    job = store.submit("me", asked)
    store.claim_next()
    seen = []
    for step in range(3):
        store.report(job.id, sampling(step, preview=bytes([step])))
        store.report(job.id, sampling(step))
        now = store.find(job.id, "me")
        seen.append((now.preview_version, store.preview_of(now)))
    assert seen == [(1, b"\x00"), (2, b"\x01"), (3, b"\x02")]


def test_how_long_a_job_takes_is_judged_by_what_was_made_and_an_old_one_has_no_time_left(
    store: JobStore, asked: GenerationRequest
):
    assert store.typical_s() is None
    job = store.submit("me", asked)
    store.claim_next()
    store.fail(job.id, "The audio is empty.", "audio")
    assert store.typical_s() is None, "it made no video"
    assert store.left_s(store.find(job.id, "me"), 3600.0) == pytest.approx(3600, abs=30)
    assert store.left_s(store.find(job.id, "me"), -60.0) == 0.0
    for took_s, state in ((5.0, "done"), (7.0, "done"), (100.0, "done"), (900.0, "cancelled")):
        other = store.submit("me", asked)
        store._change(JobRow.id == other.id, state=state, started_s=1000.0, finished_s=1000.0 + took_s)
    assert store.typical_s() == 7.0
