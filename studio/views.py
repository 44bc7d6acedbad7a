"""What the page shows, as HTML made of plain values: the portrait with its faces, a job's progress, a result's facts.

Pure functions; knows nothing about events or stores. Everything that came from a user is escaped.
"""

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from engine.progress import STAGES
from studio.jobs import Job
from studio.ports import PortraitView, Readiness, VoiceView

STAGE_TITLES = {
    "reading": "Read your files",
    "loading": "Load the model",
    "encoding": "Understand the voice",
    "sampling": "Imagine the motion",
    "decoding": "Draw the frames",
    "writing": "Write the video",
}
STAGE_UNITS = {"sampling": "step", "decoding": "frame"}
STAGE_ORDER = tuple(STAGE_TITLES)
assert {*STAGE_ORDER, "done"} == set(STAGES), "every stage of the engine has a title here"

LOGO = """<svg viewBox="0 0 48 48" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-linecap="round"
stroke-width="3"><circle cx="17" cy="24" r="10"/><path d="M13.5 27.5q3.5 3 7 0"/><path d="M32 15q5.5 9 0 18"
opacity=".75"/><path d="M38.5 10.5q8.5 13.5 0 27" opacity=".4"/></g></svg>"""


def header(title: str, tagline: str) -> str:
    """The page's first line."""
    return f"<header class='em-header'>{LOGO}<div><h1>{escape(title)}</h1><p>{escape(tagline)}</p></div></header>"


def readiness_pill(model_title: str, readiness: Readiness) -> str:
    """Which model, and whether a job would start at once."""
    if readiness.failure:
        state, words = "bad", readiness.failure
    elif readiness.ready:
        state, words = "good", f"{model_title} · ready"
    else:
        state, words = "busy", f"{model_title} · warming up"
    return f"<p class='em-pill em-{state}' role='status'><i></i>{escape(words)}</p>"


def step_heading(number: int, title: str, hint: str = "") -> str:
    """The heading of one part of the form."""
    small = f"<small>{escape(hint)}</small>" if hint else ""
    return f"<h2 class='em-step'><b>{number}</b>{escape(title)}{small}</h2>"


def drawn(html: str = "", **options: Any) -> gr.HTML:
    """A piece of the page in our own looks: without the prose styles that Gradio gives to HTML."""
    return gr.HTML(html, apply_default_css=False, **options)


def field_error(name: str) -> gr.HTML:
    """The line under the field `name` that says what is wrong with it; empty and invisible until something is."""
    return drawn(visible=False, elem_id=f"error-{name}", elem_classes="em-field-error")


def error_line(message: str) -> str:
    """The inside of a field's error."""
    return f"<p role='alert'>{escape(message)}</p>"


def portrait_card(view: PortraitView) -> str:
    """The picture with a frame around every face; the first is the one that will speak."""
    source = f"data:{view.thumbnail_mime};base64,{base64.b64encode(view.thumbnail).decode()}"
    frames = "".join(_face_frame(box, chosen=index == 0) for index, box in enumerate(view.faces))
    found = "Face found" if len(view.faces) == 1 else f"{len(view.faces)} faces found"
    caption = f"<figcaption><span>{found}</span><span>{view.width_px} × {view.height_px} px</span></figcaption>"
    picture = f"<div class='em-picture'><img src='{source}' alt='Your portrait'>{frames}</div>"
    return f"<figure class='em-portrait'>{picture}{caption}{_notice(view.notice)}</figure>"


def voice_caption(view: VoiceView) -> str:
    """How long the sound is, and what there is to say about it."""
    return f"<p class='em-caption'>{clock(view.duration_s)} of sound</p>{_notice(view.notice)}"


def empty_result() -> str:
    """What stands in the result's place before anything was asked for."""
    return (
        f"<div class='em-empty'>{LOGO}<p>Your video appears here.</p>"
        "<p>Choose a portrait and a voice, or start from an example.</p></div>"
    )


def preview_picture(webp: bytes) -> str:
    """The newest preview of a running job."""
    source = base64.b64encode(webp).decode()
    return f"<figure class='em-preview'><img src='data:image/webp;base64,{source}' alt='Preview of the face'></figure>"


def preview_placeholder() -> str:
    """The preview's place while there is none."""
    return f"<figure class='em-preview em-waiting'>{LOGO}</figure>"


def progress_card(job: Job, jobs_ahead: int = 0) -> str:
    """The bar, the stages, and in words where the job is and how long it will take."""
    progress = job.progress or {"stage": "", "fraction": 0.0, "done": 0, "total": 0, "seconds_left": None}
    percent = round(100 * progress["fraction"])
    stage = progress["stage"]
    reached = STAGE_ORDER.index(stage) if stage in STAGE_ORDER else -1
    dots = "".join(
        f"<li class='{'past' if i < reached else 'now' if i == reached else ''}'>{title}</li>"
        for i, title in enumerate(STAGE_TITLES.values())
    )
    words = _where(job, progress, jobs_ahead)
    left = "" if job.cancel_requested else _time_left(progress["seconds_left"])
    bar = (
        f"<div class='em-bar' role='progressbar' aria-valuenow='{percent}' aria-valuemin='0' aria-valuemax='100' "
        f"aria-label='Progress'><i style='width:{percent}%'></i></div>"
    )
    line = f"<p class='em-where'><span>{words}</span><span>{left}</span></p>"
    return f"<section class='em-progress'>{line}{bar}<ol>{dots}</ol></section>"


def ended_card(job: Job) -> str:
    """What to say about a job that has no video."""
    title, words = {
        "failed": ("This did not work", job.error or ""),
        "cancelled": ("Cancelled", "Nothing was kept. Run it again whenever you like."),
        "interrupted": ("Interrupted", "The studio stopped while this was running. Your inputs are kept."),
    }[job.state]
    return f"<section class='em-ended em-{job.state}' role='status'><h3>{title}</h3><p>{escape(words)}</p></section>"


def result_facts(record: dict[str, Any], seconds_taken: float | None) -> str:
    """Under the finished video: what it is, how long it took, and every notice."""
    request = record["request"]
    facts = [
        f"{record['width_px']} × {record['height_px']} px",
        f"{record['num_frames'] / record['fps']:.1f} s at {record['fps']} fps",
        f"seed {request['seed']}",
    ]
    if seconds_taken is not None:
        facts.append(f"took {clock(seconds_taken)}")
    items = "".join(f"<li>{fact}</li>" for fact in facts)
    return f"<ul class='em-facts'>{items}</ul>{''.join(_notice(words) for words in record['notices'])}"


def job_label(job: Job, created: str) -> str:
    """One line for the list of a browser's jobs."""
    return f"{created} · {job.state} · seed {job.request['seed']}"


def clock(seconds: float) -> str:
    """`7.4 s`, `42 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _where(job: Job, progress: dict[str, Any], jobs_ahead: int) -> str:
    if job.cancel_requested:
        return "Stopping…"
    if job.state == "queued":
        return f"Waiting for {jobs_ahead} earlier" if jobs_ahead else "Next in line"
    title = STAGE_TITLES.get(progress["stage"], "Starting")
    unit = STAGE_UNITS.get(progress["stage"])
    return f"{title} · {unit} {progress['done']} of {progress['total']}" if unit else title


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 1.5:
        return "almost done"
    return f"about {clock(seconds) if seconds >= 10 else f'{seconds:.0f} s'} left"


def _face_frame(box: Sequence[float], *, chosen: bool) -> str:
    x0, y0, x1, y1 = (100 * value for value in box)
    place = f"left:{x0:.2f}%;top:{y0:.2f}%;width:{x1 - x0:.2f}%;height:{y1 - y0:.2f}%"
    return f"<i class='em-face{' em-chosen' if chosen else ''}' style='{place}'></i>"


def _notice(words: str | None) -> str:
    return f"<p class='em-notice' role='status'>{escape(words)}</p>" if words else ""
