"""A visitor's jobs as rows: what is waiting, what runs, what was made, each with what can be done to it.

Pure functions, like `studio.views`. A button's `data-act` is the name of what it does; the row says for which job.
"""

from collections.abc import Sequence
from datetime import datetime
from html import escape

from engine.contract.variants import TASK_INFO
from studio.job_rows import PENDING, RUNNABLE_AGAIN, Job
from studio.jobs import POSTER_NAME
from studio.views import where
from studio.visitors import result_url
from studio.words import tr

STATE_WORDS = {
    "queued": "waiting",
    "paused": "paused",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
}


def queue_list(jobs: Sequence[Job], ended: Sequence[Job] = ()) -> str:
    """The jobs that run and wait, in their order, with what moves, changes or ends them; below, what came of others."""
    waiting = [job for job in jobs if job.state in PENDING]
    rows = "".join(
        _row(job, _queue_buttons(job, first=job is waiting[0], last=job is waiting[-1]))
        if job.state in PENDING
        else _row(job, _button("open", "Open"))
        for job in jobs
    )
    html = f"<h3 class='em-section'>{tr('Waiting')}</h3><ul class='em-jobs'>{rows}</ul>" if jobs else ""
    if ended:
        shelf = "".join(_row(job, _library_buttons(job), picture=True) for job in ended)
        html += f"<h3 class='em-section'>{tr('Made with it')}</h3><ul class='em-jobs em-shelf'>{shelf}</ul>"
    return html


def library_list(jobs: Sequence[Job]) -> str:
    """Everything that was asked for, newest first."""
    if not jobs:
        return f"<p class='em-caption'>{tr('Nothing here yet.')}</p>"
    return (
        f"<ul class='em-jobs em-shelf'>{''.join(_row(job, _library_buttons(job), picture=True) for job in jobs)}</ul>"
    )


def disk_use(jobs: int, bytes_used: int, speakers_bytes: int = 0) -> str:
    """How much of the disk the visitor's jobs take, and their own speakers where there are any."""
    size = human_size(bytes_used)
    words = tr("One job, {size} on disk" if jobs == 1 else "{count} jobs, {size} on disk", count=jobs, size=size)
    if speakers_bytes:
        words += " · " + tr("your own speakers: {size}", size=human_size(speakers_bytes))
    return f"<p class='em-caption' id='disk-use'>{words}</p>"


def human_size(size: int) -> str:
    """`0.4 MB`, `1.2 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _row(job: Job, buttons: str, *, picture: bool = False) -> str:
    shown = ""
    if picture:
        poster = f"<img src='{result_url(job.id, POSTER_NAME)}' alt='' loading='lazy'>" if job.state == "done" else ""
        shown = f"<div class='em-poster'>{poster}</div>"
    title = tr(TASK_INFO[job.request["task"]].title)
    when = datetime.fromtimestamp(job.created_s).strftime("%Y-%m-%d %H:%M")
    state = where(job) if job.state == "running" else tr(STATE_WORDS[job.state])
    words = f"<b>{escape(title)}</b> <span class='em-state em-{job.state}'>{escape(state)}</span>"
    facts = f"{when} · {tr('seed')} {job.request['seed']}"
    prompt = f" · {escape(job.request['prompt'][:60])}" if job.request.get("prompt") else ""
    what = f"<div class='em-what'>{words}<small>{facts}{prompt}</small></div>"
    return f"<li data-job='{job.id}' data-state='{job.state}'>{shown}{what}<div class='em-acts'>{buttons}</div></li>"


def _queue_buttons(job: Job, *, first: bool, last: bool) -> str:
    pause = _button("resume", "Go on") if job.state == "paused" else _button("pause", "Pause")
    up = "" if first else _button("up", "↑", "Earlier")
    down = "" if last else _button("down", "↓", "Later")
    return f"{up}{down}{pause}{_button('edit', 'Edit')}{_delete(job)}"


def _library_buttons(job: Job) -> str:
    buttons = [_button("open", "Open")]
    if job.state in RUNNABLE_AGAIN:
        buttons.append(_button("again", "Run again"))
    buttons.append(_button("edit", "Edit") if job.state in PENDING else _button("reuse", "Use settings"))
    if job.state != "running":
        buttons.append(_delete(job))
    return "".join(buttons)


def _delete(job: Job) -> str:
    """A button that says what it deletes, and asks."""
    sure = "Delete this video and its files?" if job.state == "done" else "Delete this job and its files?"
    return _button("delete", "Delete", sure=sure)


def _button(act: str, words: str, name: str = "", sure: str = "") -> str:
    asked = f" data-sure='{escape(tr(sure))}'" if sure else ""
    spoken = f" aria-label='{tr(name)}' title='{tr(name)}'" if name else ""
    return f"<button type='button' class='em-small' data-act='{act}'{asked}{spoken}>{tr(words)}</button>"
