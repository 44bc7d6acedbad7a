"""The right-hand column: a job while it waits and runs, its video when it is done, what else is waiting.

Knows jobs only, not the form. The page does not listen to a stream: a timer asks the store by the job's id, so a
reload, a lost connection or another tab changes nothing for the job.
"""

from typing import Any

import gradio as gr

from engine.contract.request import flatten
from studio import job_views, views
from studio.job_rows import PENDING, RUNNABLE_AGAIN, Job
from studio.jobs import DRAFT_NAME, POSTER_NAME
from studio.service import Studio
from studio.tabs.events import Updates, no_error
from studio.tabs.exports import ExportPanel
from studio.tabs.motion_panel import MotionPanel
from studio.visitors import result_url
from studio.words import label, tr

POLL_EVERY_S = 0.7
MOST_LISTED = 30
"""So many of a visitor's jobs are listed below the followed one, or looked through for one to compare with."""
MOST_DIFFERENCES = 4
NOT_COMPARED = frozenset({"out", "image", "last_image", "video", "audio", "redo_latents"})
PLAYHEAD = "() => Math.round(100 * em.playhead()) / 100"
JOB_LIST = "em.jobList(element, trigger); // sends 'act'"


class ResultPanel:
    """Draws the column where it is made; `show` and `poll` say what to change in it."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        # What is followed is kept by the page, not by the server's session, which a restart forgets.
        self.job_id = gr.Textbox(visible=False)
        self.seen = gr.Textbox(visible=False)
        self.timer = gr.Timer(POLL_EVERY_S, active=False)
        with gr.Column(elem_classes="em-card em-result"):
            self.draft = views.drawn(visible=False, elem_id="result-draft")
            self.preview = views.drawn(visible=False, elem_id="result-preview")
            self.video = gr.HTML(
                visible=False, apply_default_css=False, js_on_load="em.player(element)", elem_id="result-video"
            )
            self.status = views.drawn(views.empty_result(), elem_id="result-status")
            with gr.Row(elem_classes="em-actions"):
                self.again = gr.Button(label("Run again"), visible=False, elem_id="result-again")
                self.reuse = gr.Button(label("Use these settings again"), visible=False, elem_id="result-reuse")
                self.finish = gr.Button(label("Stop here, keep this"), visible=False, elem_id="result-finish")
                self.pause = gr.Button(label("Pause"), visible=False, elem_id="result-pause")
                self.cancel = gr.Button(label("Cancel"), visible=False, elem_id="result-cancel")
            self.exports = ExportPanel(studio, self.job_id)
            self.motion = MotionPanel(studio, self.job_id)
            self._draw_redo()
            self.queue = gr.HTML(visible=False, apply_default_css=False, js_on_load=JOB_LIST, elem_id="queue")

    def _draw_redo(self) -> None:
        with gr.Accordion(label("Make a stretch anew"), open=False, visible=False, elem_id="redo") as self.redo:
            views.said(_redo_hint)
            with gr.Row(elem_classes="em-line"):
                self.start_s = _second("From, s", "redo-start")
                self.stop_s = _second("To, s", "redo-stop")
                self.redo_button = gr.Button(label("Make it anew"), size="sm", elem_id="redo-button")
            self.redo_error = views.field_error("redo_span_s")

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """Every component that `show` and `poll` may change."""
        return [
            *(self.job_id, self.seen, self.timer, self.draft, self.preview, self.video, self.status),
            *(self.again, self.reuse, self.finish, self.pause, self.cancel, self.queue),
            *(self.redo, self.redo_error, self.start_s, self.stop_s),
            *self.exports.outputs,
            *self.motion.outputs,
        ]

    def show(self, job: Job) -> Updates:
        """The whole column for `job`."""
        return {
            self.job_id: job.id,
            self.seen: self._seen(job),
            # As long as anything is unfinished the column asks: what it lists must be true for as long as it is seen.
            self.timer: gr.Timer(active=self._busy(job)),
            self.status: self._status(job),
            self.draft: self._draft(job),
            self.preview: self._preview(job),
            self.video: self._video(job),
            self.again: gr.Button(
                tr("Go on" if job.state == "paused" or self._studio.store.goes_on(job) else "Run again"),
                visible=job.state in (*RUNNABLE_AGAIN, "paused"),
            ),
            self.reuse: gr.Button(visible=not job.unfinished),
            **self._buttons(job),
            **self._redo(job),
            **self.exports.show(job),
            **self.motion.show(job),
            self.queue: self.waiting(job),
        }

    def show_nothing(self) -> Updates:
        """The column before anything was asked for."""
        buttons = (self.again, self.reuse, self.finish, self.pause, self.cancel)
        emptied: Updates = {part: gr.update(value="", visible=False) for part in (self.draft, self.preview, self.video)}
        return {
            self.job_id: None,
            self.timer: gr.Timer(active=False),
            self.status: views.empty_result(),
            **emptied,
            **{button: gr.Button(visible=False) for button in buttons},
            self.redo: gr.Accordion(visible=False),
            **self.exports.show(None),
            **self.motion.show(None),
            self.queue: gr.update(value="", visible=False),
        }

    def poll(self, job: Job, seen: str) -> Updates:
        """What has changed since `seen`; the heavy parts only when they are new."""
        now = self._seen(job)
        if now.partition(" ")[0] != seen.partition(" ")[0]:
            return self.show(job)
        updates: Updates = {self.status: self._status(job)}
        if now != seen:
            updates |= {self.seen: now, self.preview: self._preview(job), **self._buttons(job)}
            updates |= {self.queue: self.waiting(job)}
            updates |= {self.timer: gr.Timer(active=self._busy(job))}
        return updates

    def _busy(self, job: Job) -> bool:
        """Whether the followed job, or another of its owner's, will still change by itself."""
        return job.unfinished or self._studio.store.count(job.owner) > 0

    def waiting(self, job: Job) -> Updates:
        """What else the owner of the followed job asked for, with it or after it: what runs and waits, and what became
        of the rest, so that every take is found."""
        store = self._studio.store
        since = [other for other in store.recent(job.owner, MOST_LISTED) if other.number > job.number]
        ended = [other for other in reversed(since) if not other.unfinished and other.state not in PENDING]
        running = [other for other in reversed(since) if other.state == "running"]
        html = job_views.queue_list([*running, *store.pending(job.owner)], ended)
        return gr.update(value=html, visible=bool(html))

    def _buttons(self, job: Job) -> Updates:
        sampling = job.state == "running" and (job.progress or {}).get("stage") == "sampling"
        free = job.stop_request is None
        return {
            self.finish: gr.Button(visible=sampling, interactive=free),
            self.pause: gr.Button(visible=job.unfinished, interactive=free),
            self.cancel: gr.Button(visible=job.unfinished, interactive=free or job.stop_request == "finish"),
        }

    def _redo(self, job: Job) -> Updates:
        there = self._studio.store.latents_of(job) is not None
        return {
            self.redo: gr.Accordion(visible=there),
            self.redo_error: no_error(),
            self.start_s: None,
            self.stop_s: None,
        }

    def _status(self, job: Job) -> str:
        if job.unfinished:
            ahead = self._studio.store.jobs_ahead(job) if job.state == "queued" else 0
            each_s = self._studio.store.typical_s() if ahead else None
            return views.progress_card(job, ahead, None if each_s is None else ahead * each_s)
        if job.record is not None and self._studio.store.result_of(job) is not None:
            keep_s = self._studio.limits.keep_s
            kept_s = None if keep_s is None else self._studio.store.left_s(job, keep_s)
            return views.result_facts(job.record, job.seconds_taken, kept_s)
        return views.ended_card(job, goes_on=self._studio.store.goes_on(job))

    def _video(self, job: Job) -> Updates:
        if self._studio.store.result_of(job) is None:
            return gr.update(value="", visible=False)
        before = self._comparable(job)
        name = job.request["out"]
        html = views.player(
            result_url(job.id, name),
            result_url(job.id, POSTER_NAME),
            name,
            (result_url(before.id, before.request["out"]), what_differs(before, job)) if before else None,
        )
        return gr.update(value=html, visible=True)

    def _comparable(self, job: Job) -> Job | None:
        """The last video before `job` that was made of the same files, so that only settings differ."""
        for other in self._studio.store.recent(job.owner, MOST_LISTED, states=("done",)):
            if other.number < job.number and _made_of(other) == _made_of(job):
                return other
        return None

    def _draft(self, job: Job) -> Updates:
        there = self._studio.store.draft_of(job) is not None
        return gr.update(value=views.draft(result_url(job.id, DRAFT_NAME)) if there else "", visible=there)

    def _preview(self, job: Job) -> Updates:
        if not job.unfinished:
            return gr.update(value="", visible=False)
        picture = self._studio.store.preview_of(job) if job.preview_version else None
        html = views.preview_picture(picture) if picture else views.preview_placeholder()
        return gr.update(value=html, visible=True)

    def _seen(self, job: Job) -> str:
        """What of a job a page has drawn: its state and draft first, then what changes within the state."""
        draft = "+draft" if self._studio.store.draft_of(job) else ""
        stage = (job.progress or {}).get("stage")
        others = self._studio.store.recent(job.owner, MOST_LISTED)
        waiting = ",".join(f"{other.number}{other.state[0]}" for other in others if other.number != job.number)
        return f"{job.state}{draft} {job.preview_version} {job.stop_request} {stage} {waiting}"


def _made_of(job: Job) -> tuple[Any, ...]:
    """The task and the contents of the files that a finished video was made of."""
    record = job.record or {}
    return job.request["task"], *sorted(record.get("inputs_sha256", {}).items())


def what_differs(one: Job, other: Job) -> str:
    """The fields and settings of `one` that are not those of `other`, by name and value, the first few."""
    fields = [
        {name: value for name, value in flatten(job.request).items() if name not in NOT_COMPARED and value != ""}
        for job in (one, other)
    ]
    names = [name for name in fields[0] | fields[1] if fields[0].get(name) != fields[1].get(name)]
    told = [f"{name} {fields[0].get(name, '–')}" for name in names]
    more = f", +{len(told) - MOST_DIFFERENCES}" if len(told) > MOST_DIFFERENCES else ""
    return ", ".join(told[:MOST_DIFFERENCES]) + more or tr("the same settings")


def _redo_hint() -> str:
    words = tr("Another seed between two moments of the video; what is before and behind them stays.")
    return f"<p class='em-caption'>{words}</p>"


def _second(words: str, elem_id: str) -> gr.Number:
    """A second of the video, by number or from where the video stands."""
    with gr.Column(min_width=130):
        number = gr.Number(minimum=0, precision=2, step=0.1, label=label(words), elem_id=elem_id)
        gr.Button(label("Where it stands"), size="sm").click(None, None, number, js=PLAYHEAD)
    return number
