"""How much a finished nano video moves: sliders under it, answered by a second of the face, and *Redraw*.

Nothing is sampled again: the video's kept latents are drawn otherwise. Knows one followed job and not the form.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr

from engine.contract.errors import UserError
from engine.contract.motion_edit import AMOUNTS, MOST, MotionEdit, checked_motion
from studio import views
from studio.job_rows import Job
from studio.service import Studio
from studio.tabs.events import ONCE_HEADER, PAGE_ONLY, QUIET, Updates, error, no_error
from studio.visitors import owner_of, result_url
from studio.words import label, tr

HINT = "In per cent of what this video does. Nothing is generated again: the same voice and motion, drawn otherwise."
WITH_PLAYHEAD = "(job, at, ...edit) => [job, em.playhead(), ...edit]"
BLINK_HERE = "(now) => [now?.trim(), em.playhead().toFixed(2)].filter(Boolean).join(', ')"


class MotionPanel:
    """Draws the fold where it is made; `job_id` is the followed job."""

    def __init__(self, studio: Studio, job_id: gr.Textbox) -> None:
        self._studio, self._job_id = studio, job_id
        with gr.Accordion(label("Change how it moves"), open=False, visible=False, elem_id="motion") as self.fold:
            views.said(lambda: f"<p class='em-caption'>{tr(HINT)}</p>")
            self._preview = views.drawn(visible=False, elem_id="motion-preview")
            with gr.Row(elem_classes="em-settings"):
                self._amounts = [_slider(name) for name in AMOUNTS]
            with gr.Row(elem_classes="em-line"):
                self._blinks = gr.Textbox(
                    label=label("Blinks besides, at seconds"), placeholder="1.2, 3.4", elem_id="motion-blinks"
                )
                blink = gr.Button(label("Blink where it stands"), size="sm", elem_id="motion-blink-here")
            with gr.Row(elem_classes="em-line"):
                reset = gr.Button(label("As it was"), size="sm", elem_id="motion-reset")
                self._redraw_button = gr.Button(label("Redraw"), size="sm", variant="primary", elem_id="motion-redraw")
            arkit = gr.Button(label("Its motion as ARKit CSV"), size="sm", elem_id="motion-arkit")
            self._file = views.drawn(visible=False, elem_id="motion-file")
            self._error = views.field_error("motion")
            self._at = gr.Number(visible=False)
        answer: dict[str, Any] = {
            "fn": self._show_edit,
            "inputs": [job_id, self._at, *self._edit],
            "outputs": [self._preview, self._error],
            "js": WITH_PLAYHEAD,
            "trigger_mode": "always_last",
            **QUIET,
        }
        gr.on([*(slider.input for slider in self._amounts), self._blinks.input], **answer)
        arkit.click(self._write_motion, job_id, [self._file, self._error], show_progress_on=arkit, **PAGE_ONLY)
        blink.click(None, self._blinks, self._blinks, js=BLINK_HERE).then(**answer)
        reset.click(_as_it_was, None, self._edit, **QUIET).then(**answer)

    @property
    def _edit(self) -> list[gr.components.Component]:
        return [*self._amounts, self._blinks]

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """What `show` changes."""
        return [self.fold, self._preview, self._file, self._error, *self._edit]

    def connect(self, show: Callable[[Job], Updates], outputs: list[gr.blocks.Block]) -> None:
        """Let *Redraw* show the new job by `show`, which changes `outputs`."""

        def redraw(request: gr.Request, job_id: str, *edit: Any) -> Updates:
            try:
                once = request.headers.get(ONCE_HEADER)
                return show(self._studio.redraw(owner_of(request), job_id, _checked(edit), once=once))
            except UserError as wrong:
                return {self._error: error(wrong.message)}

        self._redraw_button.click(redraw, [self._job_id, *self._edit], outputs, **PAGE_ONLY)

    def show(self, job: Job | None) -> Updates:
        """Offered under a video whose motion can be edited, as that video was drawn."""
        there = job is not None and self._studio.can_redraw(job)
        edit = MotionEdit.model_validate((job.request.get("motion") if job else None) or {})
        return {
            self.fold: gr.Accordion(visible=there),
            self._preview: gr.update(value="", visible=False),
            self._file: gr.update(value="", visible=False),
            self._error: no_error(),
            **{slider: getattr(edit, name) for slider, name in zip(self._amounts, AMOUNTS, strict=True)},
            self._blinks: ", ".join(f"{moment_s:g}" for moment_s in edit.blink_at_s),
        }

    def _write_motion(self, request: gr.Request, job_id: str) -> Updates:
        job = self._studio.store.find(job_id, owner_of(request)) if job_id else None
        video = self._studio.store.result_of(job) if job else None
        if job is None or video is None:
            return {self._error: error(tr("The video is gone; make it again first."))}
        out = video.with_name(f"export-{video.stem}-motion.csv")
        try:
            self._studio.ports.write_motion(video, out)
        except UserError as wrong:
            return {self._error: error(wrong.message)}
        links = views.downloads([(out.name.removeprefix("export-"), result_url(job.id, out.name))])
        return {self._file: gr.update(value=links, visible=True), self._error: no_error()}

    def _show_edit(self, request: gr.Request, job_id: str, at_s: float | None, *edit: Any) -> Updates:
        try:
            asked = self._studio.redrawn(owner_of(request), job_id, _checked(edit))
            picture = self._studio.ports.preview_motion(asked, float(at_s or 0))
        except UserError as wrong:
            return {self._error: error(wrong.message)}
        return {self._preview: gr.update(value=views.preview_picture(picture), visible=True), self._error: no_error()}


def _as_it_was() -> list[Any]:
    return [*[100] * len(AMOUNTS), ""]


def _checked(given: tuple[Any, ...]) -> MotionEdit:
    *amounts, blinks = given
    return checked_motion(dict(zip(AMOUNTS, amounts, strict=True)) | {"blink_at_s": blinks or ""})


def _slider(name: str) -> gr.Slider:
    info = MotionEdit.model_fields[name]
    return gr.Slider(
        minimum=0,
        maximum=MOST,
        step=5,
        value=100,
        buttons=[],
        label=label(info.title or name),
        info=label(info.description or ""),
        elem_id=f"motion-{name}",
        min_width=210,
    )
