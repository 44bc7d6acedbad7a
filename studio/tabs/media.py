"""The cards of a request's media: a picture with its faces, a film, a voice. Each is drawn where it is made.

Knows nothing about tasks; which cards a task shows, and what is done with their files, is the caller's business.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from engine.errors import UserError
from engine.request import Box
from studio import views
from studio.examples import label_of
from studio.inputs import PictureFile
from studio.service import Studio
from studio.tabs.events import PAGE_ONLY, QUIET, Updates, error, no_error
from studio.words import label

CHOOSE_A_FACE = "em.pictureCard(element, trigger); // sends 'choose'"


class PictureCard:
    """A picture: an upload, then its faces drawn on it. `boxes` says that the face may be chosen, or drawn by hand."""

    def __init__(
        self, studio: Studio, field: str, title: str, hint: str, samples: Sequence[Path], *, boxes: bool
    ) -> None:
        self._studio, self.field, self._samples = studio, field, samples
        with gr.Column(elem_classes="em-card em-takes-files", elem_id=f"{field}-part") as self.card:
            views.said(lambda: views.part_heading(title, hint))
            with gr.Column() as self._picker:
                self.file = PictureFile(
                    type="filepath",
                    sources=["upload", "webcam", "clipboard"],
                    show_label=False,
                    height=170,
                    elem_id=f"{field}-file",
                    elem_classes="em-drop",
                )
            with gr.Column(visible=False) as self._chosen:
                self._view = gr.HTML(
                    apply_default_css=False, elem_id=f"{field}-card", js_on_load=CHOOSE_A_FACE if boxes else None
                )
                self._change = gr.Button(label("Change picture"), size="sm", elem_id=f"{field}-change")
                self.face_box = self._box(
                    "face-box", "Face", "Found by itself; click or draw another, or type it.", boxes
                )
                self.lip_box = self._box("lip-box", "Lower face", "What is moved; found by itself.", False)
            self.error = views.field_error(field)
            self._examples = gr.Dataset(
                components=[gr.Image(render=False, type="filepath")],
                samples=[[str(path)] for path in samples] or [[None]],
                type="index",
                label=label("Examples"),
                visible=bool(samples),
                elem_id=f"{field}-examples",
            )
        self._connect(boxes)

    def _box(self, name: str, title: str, info: str, visible: bool) -> gr.Textbox:
        return gr.Textbox(
            label=label(title),
            info=label(info),
            placeholder="0.25, 0.10, 0.75, 0.60",
            max_length=80,
            visible=visible,
            elem_id=f"{self.field}-{name}",
        )

    def _connect(self, boxes: bool) -> None:
        self.file.change(
            self._show,
            [self.file, self.face_box],
            [self._picker, self._chosen, self._view, self.error, self.face_box],
            show_progress="minimal",
            show_progress_on=self.file,
            **PAGE_ONLY,
        )
        self._change.click(lambda: (None, "", ""), None, [self.file, self.face_box, self.lip_box], **QUIET)
        self._examples.click(
            lambda index: (str(self._samples[index]), ""), self._examples, [self.file, self.face_box], **QUIET
        )
        if boxes:
            self._view.choose(_box_of, None, self.face_box, **QUIET)
            draw = "(text, lips) => { em.drawBox('%s-card', 'face', text); em.drawBox('%s-card', 'lips', lips); }"
            gr.on(
                [self.face_box.input, self.lip_box.input],
                None,
                [self.face_box, self.lip_box],
                None,
                js=draw % (self.field, self.field),
            )

    @property
    def examples(self) -> gr.Dataset:
        """The example pictures; a click gives the index of one."""
        return self._examples

    def _show(self, path: str | None, face_box: str | None) -> Updates:
        unchosen: Updates = {self._picker: gr.Column(visible=True), self._chosen: gr.Column(visible=False)}
        if path is None:
            return {**unchosen, self.error: no_error()}
        try:
            view = self._studio.view(self.field, Path(path), self._studio.ports.view_portrait)
        except UserError as wrong:
            return {**unchosen, self.error: error(wrong.message)}
        return {
            self._picker: gr.Column(visible=False),
            self._chosen: gr.Column(visible=True),
            self._view: views.portrait_card(view, chosen=_read_box(face_box)),
            self.error: no_error(),
        }


class FilmCard:
    """A film whose lips will move: an upload, then a still with the face that speaks and its lower half."""

    def __init__(self, studio: Studio, field: str, title: str, hint: str) -> None:
        self._studio, self.field = studio, field
        with gr.Column(elem_classes="em-card em-takes-files", elem_id=f"{field}-part") as self.card:
            views.said(lambda: views.part_heading(title, hint))
            self.file = gr.Video(
                sources=["upload", "webcam"], show_label=False, height=220, buttons=[], elem_id=f"{field}-file"
            )
            self._view = views.drawn(visible=False, elem_id=f"{field}-card")
            self.error = views.field_error(field)
        self.file.change(self._show, self.file, [self._view, self.error], show_progress="hidden", **PAGE_ONLY)

    def _show(self, path: str | None) -> Updates:
        hidden = gr.update(value="", visible=False)
        if path is None:
            return {self._view: hidden, self.error: no_error()}
        try:
            view = self._studio.view(self.field, Path(path), self._studio.ports.view_film)
        except UserError as wrong:
            return {self._view: hidden, self.error: error(wrong.message)}
        return {self._view: gr.update(value=views.film_card(view), visible=True), self.error: no_error()}


class VoiceCard:
    """A voice: an upload, a recording or the sound of a video."""

    def __init__(self, studio: Studio, field: str, title: str, hint: str, samples: Sequence[Path]) -> None:
        self._studio, self.field, self._samples = studio, field, samples
        with gr.Column(elem_classes="em-card em-takes-files", elem_id=f"{field}-part") as self.card:
            views.said(lambda: views.part_heading(title, hint))
            self.file = gr.Audio(
                type="filepath",
                sources=["upload", "microphone"],
                show_label=False,
                buttons=[],
                elem_id=f"{field}-file",
                elem_classes="em-drop",
            )
            self._caption = views.drawn(visible=False, elem_id=f"{field}-caption")
            self.error = views.field_error(field)
            with gr.Row(elem_classes="em-line"):
                self._examples = gr.Dataset(
                    components=[gr.Textbox(render=False)],
                    samples=[[label_of(path)] for path in samples] or [[""]],
                    type="index",
                    label=label("Examples"),
                    visible=bool(samples),
                    elem_id=f"{field}-examples",
                )
                self._from_video = gr.UploadButton(
                    label("Sound of a video…"), file_types=["video"], size="sm", scale=0, elem_id=f"{field}-from-video"
                )
        self.file.change(self._show, self.file, [self._caption, self.error], show_progress="hidden", **PAGE_ONLY)
        self._from_video.upload(lambda path: path, self._from_video, self.file, **QUIET)
        self._examples.click(lambda index: str(samples[index]), self._examples, self.file, **QUIET)

    def _show(self, path: str | None) -> Updates:
        hidden = gr.update(value="", visible=False)
        if path is None:
            return {self._caption: hidden, self.error: no_error()}
        try:
            caption = views.voice_caption(self._studio.view(self.field, Path(path), self._studio.ports.view_voice))
        except UserError as wrong:
            return {self._caption: hidden, self.error: error(wrong.message)}
        return {self._caption: gr.update(value=caption, visible=True), self.error: no_error()}


def _box_of(event: gr.EventData) -> str:
    return ", ".join(f"{float(value):.4f}" for value in event.box)


def _read_box(text: Any) -> Box | None:
    """The box that is written there, if one is; what is wrong with it is said when it is used."""
    try:
        x0, y0, x1, y1 = (float(value) for value in str(text or "").split(","))
    except ValueError:
        return None
    return x0, y0, x1, y1
