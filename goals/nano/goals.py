"""Nano's page: finished videos of the examples, held-out voices, closures and words, lip-sync, time."""

from engine.session import Session
from goals.goal import Measured, Part, Place, Row
from goals.nano import held_out, life, lip_sync
from goals.nano.jobs import ENGLISH_SPEECH, TIMED_RUNS, find_jobs, machine, prove_clip, timed_runs
from goals.nano.report import EXPLANATION, clips_markdown
from goals.nano.rows import clip_rows, studio_row, time_row
from goals.nano.studio_start import studio_start_s

PART = Part("nano", "Nano", EXPLANATION)


def _session(place: Place) -> tuple[Session, str]:
    model = place.options.get("model", "nano")
    session = Session()
    session.warm_up(model)
    return session, model


@PART.goal("clips")
def _clips(place: Place) -> Measured:
    """`--set model=nano english=NAME,NAME`."""
    english = place.options.get("english", ",".join(ENGLISH_SPEECH)).split(",")
    jobs = list(find_jobs(place.examples, place.videos, english))
    session, model = _session(place)
    clips = [prove_clip(session, job, model) for job in jobs]
    return Measured(clip_rows(clips), clips_markdown(clips, machine()))


@PART.goal("life")
def _life(place: Place) -> Measured:
    """`--set model=nano`; look.jpg among the videos shows every clip."""
    return life.measure(place)


@PART.goal("held-out")
def _held_out(place: Place) -> list[Row]:
    return list(held_out.measure_rows())


@PART.goal("lip-sync")
def _lip_sync(place: Place) -> Measured:
    return lip_sync.measure(place)


@PART.goal("time")
def _time(place: Place) -> list[Row]:
    jobs = list(find_jobs(place.examples, place.videos, []))
    session, model = _session(place)
    return [time_row(timed_runs(session, jobs, model))]


@PART.goal("studio-start")
def _studio_start(place: Place) -> list[Row]:
    return [studio_row([studio_start_s() for _ in range(TIMED_RUNS)])]
