"""The right-hand column: a job while it waits and runs, its video when it is done, and what to say when it is not.

Knows jobs only, not the form. The page does not listen to a stream: a timer asks the store by the job's id, so a
reload, a lost connection or another tab changes nothing for the job.
"""

from datetime import datetime
from typing import Any

import gradio as gr

from studio import views
from studio.jobs import RUNNABLE_AGAIN, Job
from studio.service import Studio

POLL_EVERY_S = 0.7
Updates = dict[Any, Any]
"""Component → its new value or update, as Gradio's event functions return it."""


class ResultPanel:
    """Draws the column where it is made; `show` and `poll` say what to change in it."""

    def __init__(self, studio: Studio, name: str) -> None:
        self._studio = studio
        # What is followed is kept by the page, not by the server's session, which a restart forgets.
        self.job_id = gr.Textbox(visible=False)
        self.seen = gr.Textbox(visible=False)
        self.timer = gr.Timer(POLL_EVERY_S, active=False)
        with gr.Column(elem_classes="em-card em-result"):
            self.preview = views.drawn(visible=False, elem_id=f"{name}-preview")
            self.video = gr.Video(
                visible=False, interactive=False, autoplay=True, show_label=False, buttons=[], elem_id=f"{name}-video"
            )
            self.status = views.drawn(views.empty_result(), elem_id=f"{name}-status")
            with gr.Row(elem_classes="em-actions"):
                self.download = gr.DownloadButton("Download", visible=False, elem_id=f"{name}-download")
                self.again = gr.Button("Run again", visible=False, elem_id=f"{name}-again")
                self.cancel = gr.Button("Cancel", visible=False, variant="secondary", elem_id=f"{name}-cancel")
        self.history = gr.Dropdown(
            label="Your videos", choices=[], visible=False, interactive=True, elem_id=f"{name}-history"
        )

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """Every component that `show` and `poll` may change."""
        return [
            *(self.job_id, self.seen, self.timer, self.preview, self.video, self.status),
            *(self.download, self.again, self.cancel, self.history),
        ]

    def show(self, job: Job) -> Updates:
        """The whole column for `job`."""
        result = self._studio.store.result_of(job)
        updates: Updates = {
            self.job_id: job.id,
            self.seen: _seen(job),
            self.timer: gr.Timer(active=job.unfinished),
            self.status: self._status(job),
            self.preview: self._preview(job),
            self.video: gr.Video(value=result, visible=result is not None),
            self.download: gr.DownloadButton(value=result, visible=result is not None),
            self.again: gr.Button(visible=job.state in RUNNABLE_AGAIN),
            self.cancel: _cancel_button(job),
        }
        return updates | {self.history: self._history(job)}

    def poll(self, owner: str, job_id: str | None, seen: str) -> Updates:
        """What has changed since `seen`; the heavy parts only when they are new."""
        job = self._studio.store.find(job_id, owner) if job_id else None
        if job is None:
            return {self.timer: gr.Timer(active=False)}
        if job.state != seen.partition(" ")[0]:
            return self.show(job)
        updates: Updates = {self.status: self._status(job)}
        if _seen(job) != seen:
            updates |= {self.seen: _seen(job), self.preview: self._preview(job), self.cancel: _cancel_button(job)}
        return updates

    def _status(self, job: Job) -> str:
        if job.unfinished:
            ahead = self._studio.store.jobs_ahead(job) if job.state == "queued" else 0
            return views.progress_card(job, ahead)
        if job.record is not None:
            return views.result_facts(job.record, job.seconds_taken)
        return views.ended_card(job)

    def _preview(self, job: Job) -> Updates:
        if not job.unfinished:
            return gr.update(value="", visible=False)
        picture = self._studio.store.preview_of(job) if job.preview_version else None
        html = views.preview_picture(picture) if picture else views.preview_placeholder()
        return gr.update(value=html, visible=True)

    def _history(self, shown: Job) -> Updates:
        jobs = self._studio.store.recent(shown.owner)
        choices = [(views.job_label(job, _local_time(job.created_s)), job.id) for job in jobs]
        return gr.update(choices=choices, value=shown.id, visible=len(jobs) > 1)


def _seen(job: Job) -> str:
    """What of a job a page has drawn: its state first, then what changes within the state."""
    return f"{job.state} {job.preview_version} {job.cancel_requested}"


def _cancel_button(job: Job) -> Updates:
    return gr.update(visible=job.unfinished, interactive=not job.cancel_requested)


def _local_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%d %b %H:%M")
