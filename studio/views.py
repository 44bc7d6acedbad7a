"""What the page shows, as HTML made of plain values: the portrait with its faces, a job's progress, a result's facts.

Pure functions; knows nothing about events or stores. Everything that came from a user is escaped.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from engine.contract.motion_edit import AMOUNTS, MotionEdit
from engine.contract.progress import STAGES
from engine.contract.request import Box
from engine.contract.variants import name_of
from studio.job_rows import Job
from studio.ports import FilmView, PortraitView, Readiness, VoiceView
from studio.words import tr

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
        state, words = "good", tr("{model} · ready", model=model_title)
    else:
        state, words = "busy", tr("{model} · warming up", model=model_title)
    return f"<p class='em-pill em-{state}' role='status'><i></i>{escape(words)}</p>"


def part_heading(title: str, hint: str = "") -> str:
    """The heading of one part of the form."""
    small = f"<small>{escape(tr(hint))}</small>" if hint else ""
    return f"<h2 class='em-step'>{escape(tr(title))}{small}</h2>"


def drawn(html: str = "", **options: Any) -> gr.HTML:
    """A piece of the page in our own looks: without the prose styles that Gradio gives to HTML."""
    return gr.HTML(html, apply_default_css=False, **options)


def said(make: Callable[[], str], **options: Any) -> gr.HTML:
    """A piece of the page that stays as it is, but for its language: `make` is asked again as a page loads."""
    piece = drawn(make(), **options)
    vars(piece)["said"] = make
    return piece


def translations(page: gr.Blocks) -> dict[gr.HTML, Callable[[], str]]:
    """Every `said` piece of the page with what makes it."""
    return {
        block: vars(block)["said"]
        for block in page.blocks.values()
        if isinstance(block, gr.HTML) and "said" in vars(block)
    }


def field_error(name: str) -> gr.HTML:
    """The line under the field `name` that says what is wrong with it; empty and invisible until something is."""
    return drawn(visible=False, elem_id=f"error-{name}", elem_classes="em-field-error")


def error_line(message: str) -> str:
    """The inside of a field's error."""
    return f"<p role='alert'>{escape(message)}</p>"


def portrait_card(
    view: PortraitView, chosen: Box | None = None, lips: Box | None = None, *, by_hand: bool = True
) -> str:
    """The picture with a frame around every face; the one that will speak is `chosen`, or else the first.

    `lips` is the lower face where it was drawn by hand; `by_hand` offers to draw.
    """
    if not by_hand:  # whose lower face moves is no question here
        view = replace(view, lip_boxes=())
    found = tr("Face found") if len(view.faces) == 1 else tr("{count} faces found", count=len(view.faces))
    return _card(view, found, "", _framed(view, chosen, lips, draws="face"), by_hand=by_hand)


def film_card(view: FilmView, lips: Box | None = None) -> str:
    """A still of the film with the face that will speak and what of it will move."""
    facts = f"{clock(view.duration_s)} · {view.fps:g} fps · "
    return _card(
        view.still, tr("Lower face, to be moved"), facts, _framed(view.still, None, lips, draws="lips"), by_hand=True
    )


def _card(view: PortraitView, found: str, facts: str, picture: str, *, by_hand: bool) -> str:
    size = f"{facts}{view.width_px} × {view.height_px} px"
    caption = f"<figcaption><span>{found}</span><span>{size}</span></figcaption>"
    draw = (
        f"<button type='button' class='em-small em-draw' aria-pressed='false'>{tr('Draw it')}</button>"
        f"<button type='button' class='em-small em-found'>{tr('Found by itself')}</button>"
    )
    buttons = f"<div class='em-line em-by-hand'>{draw}</div>" if by_hand else ""
    return f"<figure class='em-portrait'>{picture}{caption}{buttons}{notice(view.notice)}</figure>"


def voice_caption(view: VoiceView) -> str:
    """How long the sound is, and what there is to say about it."""
    words = tr("{time} of sound", time=clock(view.duration_s))
    return f"<p class='em-caption'>{words}</p>{notice(view.notice)}"


def empty_result() -> str:
    """What stands in the result's place before anything was asked for."""
    hint = tr("Choose a portrait and a voice, or start from an example.")
    return f"<div class='em-empty'>{LOGO}<p>{tr('Your video appears here.')}</p><p>{hint}</p></div>"


def player(url: str, poster_url: str, name: str, before: tuple[str, str] | None = None) -> str:
    """The finished video with sound, a link to keep it, and, to compare it with while held, another of the same inputs:
    `before` is its address and what differs in it."""
    held, hold = "", ""
    if before:
        before_url, differs = before
        held = f"<video class='em-before' src='{escape(before_url)}' playsinline loop preload='auto'></video>"
        words = tr("Hold to compare with the one before")
        hold = (
            f"<button type='button' class='em-hold em-small'>{words}</button>"
            f"<small class='em-differs'>{escape(tr('There: {what}', what=differs))}</small>"
        )
    now = (
        f"<video class='em-now' src='{escape(url)}' poster='{escape(poster_url)}' controls autoplay playsinline loop>"
        "</video>"
    )
    keep = f"<a class='em-download em-small' href='{escape(url)}' download='{escape(name)}'>{tr('Download')}</a>"
    return f"<div class='em-player'>{now}{held}</div><div class='em-line em-under'>{keep}{hold}</div>"


def downloads(links: Sequence[tuple[str, str]]) -> str:
    """Files to take away, by their names and addresses."""
    items = "".join(
        f"<a class='em-small' href='{escape(url)}' download='{escape(name)}'>{escape(name)}</a>" for name, url in links
    )
    return f"<div class='em-line em-under'>{items}</div>"


def draft(url: str) -> str:
    """Nano's draft, playing while another model works."""
    words = tr("Nano's draft, while the chosen model works")
    video = f"<video src='{escape(url)}' autoplay loop muted playsinline controls></video>"
    return f"<figure class='em-draft'>{video}<figcaption>{words}</figcaption></figure>"


def preview_picture(webp: bytes) -> str:
    """The newest preview of a running job."""
    source = base64.b64encode(webp).decode()
    source = f"data:image/webp;base64,{source}"
    return f"<figure class='em-preview'><img src='{source}' alt='{tr('Preview of the face')}'></figure>"


def preview_placeholder() -> str:
    """The preview's place while there is none."""
    return f"<figure class='em-preview em-waiting'>{LOGO}</figure>"


def progress_card(job: Job, jobs_ahead: int = 0, wait_s: float | None = None) -> str:
    """The bar, the stages, and in words where the job is and how long it will take; `wait_s` until it is begun."""
    progress = job.progress or {"stage": "", "fraction": 0.0, "done": 0, "total": 0, "seconds_left": None}
    percent = round(100 * progress["fraction"])
    stage = progress["stage"]
    reached = STAGE_ORDER.index(stage) if stage in STAGE_ORDER else -1
    dots = "".join(
        f"<li class='{'past' if i < reached else 'now' if i == reached else ''}'>{tr(title)}</li>"
        for i, title in enumerate(STAGE_TITLES.values())
    )
    words = where(job, jobs_ahead)
    left = "" if job.stop_request else _time_left(wait_s if job.state == "queued" else progress["seconds_left"])
    bar = (
        f"<div class='em-bar' role='progressbar' aria-valuenow='{percent}' aria-valuemin='0' aria-valuemax='100' "
        f"aria-label='Progress'><i style='width:{percent}%'></i></div>"
    )
    line = f"<p class='em-where'><span>{escape(words)}</span><span>{escape(left)}</span></p>"
    step = f" data-step='{progress['done']}'" if stage == "sampling" else ""
    return f"<section class='em-progress'{step}>{line}{bar}<ol>{dots}</ol></section>"


def ended_card(job: Job, *, goes_on: bool = False) -> str:
    """What to say about a job that has no video; `goes_on` where its next run begins behind its finished steps."""
    title, words = {
        "failed": (tr("This did not work"), job.error or ""),
        "cancelled": (tr("Cancelled"), tr("Nothing was kept. Run it again whenever you like.")),
        "interrupted": (tr("Interrupted"), tr("The studio stopped while this was running. Your inputs are kept.")),
        "paused": (tr("Paused"), tr("It goes on where it stopped when you let it.")),
        "done": (tr("The file is gone"), tr("This video was deleted. Its settings are kept.")),
    }[job.state]
    if goes_on and job.state == "interrupted":
        words += " " + tr("It goes on from its last finished step.")
    return f"<section class='em-ended em-{job.state}' role='status'><h3>{title}</h3><p>{escape(words)}</p></section>"


def result_facts(record: dict[str, Any], seconds_taken: float | None, kept_s: float | None = None) -> str:
    """Under the finished video: what it is, how long it took, every notice, and where it goes how long it stays."""
    request = record["request"]
    facts = [
        f"{record['width_px']} × {record['height_px']} px",
        f"{record['num_frames'] / record['fps']:.1f} s · {record['fps']:g} fps",
        f"{tr('seed')} {request['seed']}",
        name_of(request["model"]),
    ]
    if seconds_taken is not None:
        facts.append(tr("took {time}", time=clock(seconds_taken)))
    if request.get("redo_span_s"):
        start_s, stop_s = request["redo_span_s"]
        facts.append(tr("{start}–{stop} s made anew", start=f"{start_s:.2f}", stop=f"{stop_s:.2f}"))
    edit = MotionEdit.model_validate(request.get("motion") or {})
    facts += [
        f"{tr(str(MotionEdit.model_fields[name].title))} {getattr(edit, name):g} %"
        for name in AMOUNTS
        if getattr(edit, name) != 100
    ]
    if edit.blink_at_s:
        facts.append(tr("blinks at {moments} s", moments=", ".join(f"{at_s:g}" for at_s in edit.blink_at_s)))
    if record["settings_by_step"]:
        facts.append(tr("settings changed while it ran"))
    items = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    said = list(record["notices"])
    if kept_s is not None:
        said.append(tr("It is deleted in {time}: download what you want to keep.", time=clock(kept_s)))
    return f"<ul class='em-facts'>{items}</ul>{''.join(map(notice, said))}"


def clock(seconds: float) -> str:
    """`7.4 s`, `42 s`, `3 min 05 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def where(job: Job, jobs_ahead: int = 0) -> str:
    """In words, what an unfinished job is doing."""
    if job.stop_request:
        return tr("Finishing with what is there…") if job.stop_request == "finish" else tr("Stopping…")
    if job.state == "queued":
        return tr("Waiting for {count} earlier", count=jobs_ahead) if jobs_ahead else tr("Next in line")
    progress = job.progress or {"stage": ""}
    title = tr(STAGE_TITLES.get(progress["stage"], "Starting"))
    unit = STAGE_UNITS.get(progress["stage"])
    if unit is None:
        return title
    return tr(f"{{title}} · {unit} {{done}} of {{total}}", title=title, done=progress["done"], total=progress["total"])


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 1.5:
        return tr("almost done")
    return tr("about {time} left", time=clock(seconds) if seconds >= 10 else f"{seconds:.0f} s")


def _framed(view: PortraitView, chosen: Box | None, lips: Box | None, *, draws: str) -> str:
    source = f"data:{view.thumbnail_mime};base64,{base64.b64encode(view.thumbnail).decode()}"
    speaks = _nearest(view.faces, chosen) if chosen else 0
    drawn_face = chosen is not None and not (view.faces and _same(view.faces[speaks], chosen))
    lower = (*view.lip_boxes, *[None] * len(view.faces))
    frames = "".join(
        _frame("face em-chosen" if index == speaks and not drawn_face else "face", box, lips=lower[index])
        for index, box in enumerate(view.faces)
    )
    if chosen and drawn_face:
        frames += _frame("face em-chosen em-drawn", chosen)
    if lips:
        frames += _frame("lips em-drawn", lips)
    else:
        frames += "".join(_frame("lips", box) for box in view.lip_boxes[speaks : speaks + 1])
    picture = f"<img src='{source}' alt='{tr('Your picture')}' draggable='false'>"
    return f"<div class='em-picture' data-draws='{draws}'>{picture}{frames}</div>"


def _nearest(boxes: Sequence[Box], wanted: Box) -> int:
    distances = [sum(abs(a - b) for a, b in zip(box, wanted, strict=True)) for box in boxes]
    return distances.index(min(distances)) if distances else 0


def _same(box: Box, wanted: Box) -> bool:
    return all(abs(a - b) < 0.001 for a, b in zip(box, wanted, strict=True))


def _frame(kind: str, box: Box, *, lips: Box | None = None) -> str:
    x0, y0, x1, y1 = (100 * value for value in box)
    place = f"left:{x0:.2f}%;top:{y0:.2f}%;width:{x1 - x0:.2f}%;height:{y1 - y0:.2f}%"
    able = ""
    if kind.startswith("face"):
        able = f" data-box='{_numbers(box)}' tabindex='0' role='button' aria-label='{tr('This face speaks')}'"
    if lips:
        able += f" data-lips='{_numbers(lips)}'"
    return f"<i class='em-{kind}' style='{place}'{able}></i>"


def _numbers(box: Box) -> str:
    return ",".join(f"{value:.4f}" for value in box)


def notice(words: str | None) -> str:
    """Something to know about what is shown; nothing for no words."""
    return f"<p class='em-notice' role='status'>{escape(words)}</p>" if words else ""
