"""The cards of a request's media: a picture with its faces, a film, a voice. Each is drawn where it is made.

Knows nothing about tasks; which cards a task shows, and what is done with their files, is the caller's business.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gradio as gr

from engine.contract.errors import UserError
from studio import views
from studio.examples import label_of
from studio.inputs import PictureFile
from studio.service import Studio
from studio.tabs.events import PAGE_ONLY, QUIET, Updates, error, no_error
from studio.tabs.face_boxes import FaceBoxes, Kind, read_box
from studio.words import label


@contextmanager
def _card(field: str, words: tuple[str, str], visible: bool) -> Iterator[gr.Column]:
    """The column of one input; `words` are its title and its hint."""
    with gr.Column(elem_classes="em-card em-takes-files", elem_id=f"{field}-part", visible=visible) as card:
        views.said(lambda: views.part_heading(*words))
        yield card


class PictureCard:
    """A picture: an upload, then its faces drawn on it. `kinds` says which boxes may be chosen or drawn by hand."""

    def __init__(
        self,
        studio: Studio,
        field: str,
        words: tuple[str, str],
        samples: Sequence[Path],
        *,
        kinds: tuple[Kind, ...],
        visible: bool,
    ) -> None:
        self._studio, self.field, self._samples = studio, field, samples
        with _card(field, words, visible) as self.card:
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
                self.faces = FaceBoxes(studio, field, kinds)
                self._change = gr.Button(label("Change picture"), size="sm", elem_id=f"{field}-change")
            self.error = views.field_error(field)
            self._examples = gr.Dataset(
                components=[gr.Image(render=False, type="filepath")],
                samples=[[str(path)] for path in samples] or [[None]],
                type="index",
                label=label("Examples"),
                visible=bool(samples),
                elem_id=f"{field}-examples",
            )
        self._connect()

    def _connect(self) -> None:
        boxes = list(self.faces.boxes.values())
        self.file.change(
            self._show,
            [self.file, *boxes],
            [self._picker, self._chosen, self.error, *self.faces.outputs],
            show_progress="minimal",
            show_progress_on=self.file,
            **PAGE_ONLY,
        )
        emptied: Updates = dict.fromkeys(boxes, "")
        self._change.click(lambda: {self.file: None, **emptied}, None, [self.file, *boxes], **QUIET)

    def connect_examples(self, voice: "VoiceCard | None" = None) -> None:
        """A click on an example chooses it, and one for `voice` where that has none: there is something to generate."""
        boxes = list(self.faces.boxes.values())

        def choose(index: int, *said: str | None) -> Updates:
            updates: Updates = {self.file: str(self._samples[index]), **dict.fromkeys(boxes, "")}
            if voice is not None and voice.samples and said == (None,):
                updates[voice.file] = str(voice.samples[index % len(voice.samples)])
            return updates

        beside = [] if voice is None else [voice.file]
        self._examples.click(choose, [self._examples, *beside], [self.file, *boxes, *beside], **QUIET)

    def _show(self, path: str | None, face: str | None = None, lips: str | None = None) -> Updates:
        unchosen: Updates = {self._picker: gr.Column(visible=True), self._chosen: gr.Column(visible=False)}
        if path is None:
            return {**unchosen, self.error: no_error(), **self.faces.hide()}
        try:
            view = self._studio.view(self.field, Path(path), self._studio.ports.view_portrait)
        except UserError as wrong:
            return {**unchosen, self.error: error(wrong.message)}
        html = views.portrait_card(view, read_box(face), read_box(lips), by_hand=bool(self.faces.boxes))
        return {
            self._picker: gr.Column(visible=False),
            self._chosen: gr.Column(visible=True),
            self.error: no_error(),
            **self.faces.show(view, html),
        }


class FilmCard:
    """A film whose lips will move: an upload, then a still with the face that speaks and its lower half."""

    def __init__(self, studio: Studio, field: str, words: tuple[str, str], *, visible: bool) -> None:
        self._studio, self.field = studio, field
        with _card(field, words, visible) as self.card:
            self.file = gr.Video(
                sources=["upload", "webcam"],
                show_label=False,
                height=220,
                buttons=[],
                elem_id=f"{field}-file",
                elem_classes="em-drop",
            )
            self.faces = FaceBoxes(studio, field, ("lips",))
            self.error = views.field_error(field)
        lips = self.faces.boxes["lips"]
        self.file.change(
            self._show, [self.file, lips], [self.error, *self.faces.outputs], show_progress="hidden", **PAGE_ONLY
        )
        self.file.clear(lambda: "", None, lips, **QUIET)

    def _show(self, path: str | None, lips: str | None) -> Updates:
        if path is None:
            return {self.error: no_error(), **self.faces.hide()}
        try:
            view = self._studio.view(self.field, Path(path), self._studio.ports.view_film)
        except UserError as wrong:
            return {self.error: error(wrong.message), **self.faces.hide()}
        return {self.error: no_error(), **self.faces.show(view.still, views.film_card(view, read_box(lips)))}


class VoiceCard:
    """A voice: an upload, a recording or the sound of a video."""

    def __init__(
        self, studio: Studio, field: str, words: tuple[str, str], samples: Sequence[Path], *, visible: bool
    ) -> None:
        self._studio, self.field, self.samples = studio, field, samples
        with _card(field, words, visible) as self.card:
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
                self.examples = gr.Dataset(
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
        self.examples.click(lambda index: str(samples[index]), self.examples, self.file, **QUIET)

    def _show(self, path: str | None) -> Updates:
        hidden = gr.update(value="", visible=False)
        if path is None:
            return {self._caption: hidden, self.error: no_error()}
        try:
            caption = views.voice_caption(self._studio.view(self.field, Path(path), self._studio.ports.view_voice))
        except UserError as wrong:
            return {self._caption: hidden, self.error: error(wrong.message)}
        return {self._caption: gr.update(value=caption, visible=True), self.error: no_error()}
