"""The worker, with a real small engine: jobs finish, stop when asked, survive what breaks, and a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.contract.progress import ProgressCallback
from engine.contract.records import GenerationRecord
from engine.contract.request import GenerationRequest
from engine.media.video import probe
from studio.job_rows import Job
from studio.jobs import JobStore
from studio.service import Studio
from studio.worker import Worker
from tests.studio.conftest import request_for
from tests.studio.small_engine import SmallEngine

PATIENCE_S = 60.0


def wait_for(store: JobStore, job: Job, reached: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        now = store.find(job.id, job.owner)
        assert now is not None
        if reached(now):
            return now
        time.sleep(0.02)
    raise AssertionError(f"still {now.state} after {PATIENCE_S} s: {now.error}")


def ended(job: Job) -> bool:
    return not job.unfinished


def is_sampling(job: Job) -> bool:
    return job.progress is not None and job.progress["stage"] == "sampling"


def submit(studio: Studio, request: GenerationRequest) -> Job:
    job = studio.store.submit("me", request)
    studio.worker.wake()
    return job


def test_a_job_becomes_a_video_with_sound_and_its_record_is_kept(studio: Studio, asked: GenerationRequest):
    done = wait_for(studio.store, submit(studio, asked), ended)
    assert done.state == "done", done.error
    info = probe(studio.store.result_of(done))
    assert (info.num_frames, info.audio_sample_rate_hz) == (32, 16_000)
    assert done.record["num_frames"] == 32
    assert done.preview_version == 2
    assert 0 < done.seconds_taken < PATIENCE_S


def test_jobs_run_one_after_the_other_in_order(studio: Studio, small_engine: SmallEngine, portrait: Path, voice: Path):
    jobs = [submit(studio, request_for(portrait, voice, seed, steps=1)) for seed in (3, 1, 2)]
    wait_for(studio.store, jobs[-1], ended)
    assert small_engine.seeds_done == [3, 1, 2]


def test_cancel_stops_a_running_job_and_leaves_no_file(
    studio: Studio, small_engine: SmallEngine, portrait: Path, voice: Path
):
    small_engine.pause_s = 0.05
    job = submit(studio, request_for(portrait, voice, steps=100))
    wait_for(studio.store, job, is_sampling)
    asked_at = time.monotonic()
    studio.store.request_stop(job.id, "me", "cancel")
    stopped = wait_for(studio.store, job, ended)
    assert stopped.state == "cancelled"
    assert time.monotonic() - asked_at < 2.0
    assert studio.store.result_of(stopped) is None
    assert not list((studio.store.files / job.id).glob("*.mp4"))


def test_a_bad_input_fails_beside_its_field_and_the_next_job_runs(
    studio: Studio, asked: GenerationRequest, tmp_path: Path
):
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    bad = submit(studio, request_for(text, asked.audio))
    good = submit(studio, asked)
    failed = wait_for(studio.store, bad, ended)
    assert (failed.state, failed.error_field) == ("failed", "image")
    assert "not a picture" in failed.error
    assert wait_for(studio.store, good, ended).state == "done"


def test_our_own_failure_is_said_plainly_and_the_next_job_runs(store: JobStore, asked: GenerationRequest):
    calls: list[int] = []

    def broken_once(request: GenerationRequest, on_progress: ProgressCallback, **kept: Any) -> GenerationRecord:
        calls.append(request.seed)
        if len(calls) == 1:
            raise ZeroDivisionError("secret detail")
        return SmallEngine().generate(request, on_progress, **kept)

    worker = Worker(store, replace(SmallEngine().ports(), generate=broken_once))
    first, second = store.submit("me", asked), store.submit("me", asked)
    worker.start()
    try:
        failed = wait_for(store, first, ended)
        assert failed.state == "failed"
        assert "secret" not in failed.error and "Try again" in failed.error
        assert wait_for(store, second, ended).state == "done"
    finally:
        worker.stop()


def test_stopping_marks_the_running_job_interrupted_and_the_next_start_continues(
    store: JobStore, portrait: Path, voice: Path
):
    slow = Worker(store, SmallEngine(pause_s=0.05).ports())
    running, waiting = (store.submit("me", request_for(portrait, voice, seed, steps=40)) for seed in (1, 2))
    slow.start()
    wait_for(store, running, is_sampling)
    slow.stop()
    assert store.find(running.id, "me").state == "interrupted"
    assert store.find(waiting.id, "me").state == "queued"

    store.run_again(running.id, "me")
    quick = Worker(store, SmallEngine().ports())
    quick.start()
    try:
        assert wait_for(store, running, ended).state == "done"
        assert wait_for(store, waiting, ended).state == "done"
    finally:
        quick.stop()


def test_a_killed_process_loses_no_job(tmp_path: Path, portrait: Path, voice: Path):
    store = JobStore(tmp_path / "data")
    running, waiting = (store.submit("me", request_for(portrait, voice, seed, steps=100)) for seed in (1, 2))
    code = (
        "import sys, threading; from pathlib import Path; from studio.jobs import JobStore; "
        "from studio.worker import Worker; from tests.studio.small_engine import SmallEngine; "
        "store = JobStore(Path(sys.argv[1])); Worker(store, SmallEngine(0.05).ports()).start(); "
        "threading.Event().wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(store.folder)], cwd=Path(__file__).parents[2])
    try:
        wait_for(store, running, is_sampling)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    store.close()

    reopened = JobStore(store.folder)
    assert reopened.recover() == 1
    assert [job.state for job in reopened.recent("me")] == ["queued", "interrupted"]
    assert reopened.request_of(reopened.find(running.id, "me")).image.is_file()
    assert reopened.claim_next().id == waiting.id
    reopened.close()
