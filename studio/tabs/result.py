"""The right-hand column: a job while it waits and runs, its video when it is done, what else is waiting.

Knows jobs only, not the form. The page does not listen to a stream: a timer asks the store by the job's id, so a
reload, a lost connection or another tab changes nothing for the job.
"""

import gradio as gr

from studio import job_views, views
from studio.job_rows import RUNNABLE_AGAIN, Job
from studio.jobs import DRAFT_NAME, POSTER_NAME
from studio.service import Studio
from studio.tabs.events import Updates, no_error
from studio.visitors import result_url
from studio.words import label, tr

POLL_EVERY_S = 0.7
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
        ]

    def show(self, job: Job) -> Updates:
        """The whole column for `job`."""
        return {
            self.job_id: job.id,
            self.seen: self._seen(job),
            self.timer: gr.Timer(active=job.unfinished),
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
            self.queue: self.waiting(job.owner),
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
            updates |= {self.queue: self.waiting(job.owner)}
        return updates

    def waiting(self, owner: str) -> Updates:
        """The list of the owner's waiting jobs."""
        html = job_views.queue_list(self._studio.store.pending(owner))
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
            return views.progress_card(job, ahead)
        if job.record is not None and self._studio.store.result_of(job) is not None:
            return views.result_facts(job.record, job.seconds_taken)
        return views.ended_card(job, goes_on=self._studio.store.goes_on(job))

    def _video(self, job: Job) -> Updates:
        if self._studio.store.result_of(job) is None:
            return gr.update(value="", visible=False)
        done = self._studio.store.recent(job.owner, states=("done",))
        before = next((other for other in done if other.number < job.number), None)
        name = job.request["out"]
        html = views.player(
            result_url(job.id, name),
            result_url(job.id, POSTER_NAME),
            name,
            result_url(before.id, before.request["out"]) if before else None,
        )
        return gr.update(value=html, visible=True)

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
        waiting = ",".join(f"{other.number}{other.state[0]}" for other in self._studio.store.pending(job.owner))
        return f"{job.state}{draft} {job.preview_version} {job.stop_request} {stage} {waiting}"


def _redo_hint() -> str:
    words = tr("Another seed between two moments of the video; what is before and behind them stays.")
    return f"<p class='em-caption'>{words}</p>"


def _second(words: str, elem_id: str) -> gr.Number:
    """A second of the video, by number or from where the video stands."""
    with gr.Column(min_width=130):
        number = gr.Number(minimum=0, precision=2, step=0.1, label=label(words), elem_id=elem_id)
        gr.Button(label("Where it stands"), size="sm").click(None, None, number, js=PLAYHEAD)
    return number
