"""Which face, and what of it moves: a picture with its boxes drawn, as numbers, and an editor to paint them by hand.

Three ways that end in the same text: click or drag on the picture, type four fractions, or brush over the part; what is
painted stands for the box around it. Knows nothing about where the picture comes from.
"""

import secrets
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from engine.contract.request import Box
from studio import views
from studio.ports import PortraitView
from studio.service import Studio
from studio.tabs.events import PAGE_ONLY, QUIET, Updates, error, no_error
from studio.visitors import owner_of
from studio.words import label, tr

Kind = Literal["face", "lips"]
WORDS: dict[Kind, tuple[str, str]] = {
    "face": ("Face", "Found by itself; click another, draw it, or type where it is."),
    "lips": ("Lower face", "What is moved: found by itself, drawn, or typed."),
}
ELEMENTS: dict[Kind, str] = {"face": "face-box", "lips": "lip-box"}
DRAWN_ON = "em.pictureCard(element, trigger); // sends 'choose'"
BRUSH_PX, BRUSH_COLOUR = 40, "#e0a526"
PAINTED_ALPHA = 32
"""What is fainter, of 255, is the brush's soft edge."""


class FaceBoxes:
    """Draws the picture and the inputs of `kinds` where it is made; with none, the picture alone."""

    def __init__(self, studio: Studio, field: str, kinds: tuple[Kind, ...]) -> None:
        self._studio, self._kinds = studio, kinds
        self.view = gr.HTML(
            apply_default_css=False, elem_id=f"{field}-card", js_on_load=DRAWN_ON if kinds else None, visible=False
        )
        self.kind = gr.Radio(
            choices=[(label(WORDS[kind][0]), kind) for kind in kinds] or ["face"],
            value=kinds[0] if kinds else "face",
            label=label("What is drawn"),
            visible=False,
            elem_id=f"{field}-draws",
            elem_classes="em-draws",
        )
        self.boxes = {kind: self._text(field, kind) for kind in kinds}
        self._paint = gr.Button(
            label("Paint it by hand…"), size="sm", visible=False, elem_id=f"{field}-paint", elem_classes="em-quiet"
        )
        with gr.Column(visible=False) as self._painter:
            self._editor = gr.ImageEditor(
                type="numpy",
                image_mode="RGBA",
                format="png",
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(default_size=BRUSH_PX, colors=[BRUSH_COLOUR], color_mode="fixed"),
                show_label=False,
                height=360,
                elem_id=f"{field}-editor",
            )
            self._take = gr.Button(label("Take what is painted"), size="sm", elem_id=f"{field}-take")
        self.error = views.field_error(f"{field}-box")
        self._pictures = gr.State()
        if kinds:
            self._connect(field)

    def _text(self, field: str, kind: Kind) -> gr.Textbox:
        title, info = WORDS[kind]
        return gr.Textbox(
            label=label(title),
            info=label(info),
            placeholder=label("left, top, right, bottom, as shares: 0.25, 0.10, 0.75, 0.60"),
            max_length=80,
            visible=False,
            elem_id=f"{field}-{ELEMENTS[kind]}",
        )

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """What `show` and `hide` change."""
        return [self.view, self._paint, self._painter, self._pictures, self.error, *self.boxes.values()]

    def show(self, view: PortraitView, html: str) -> Updates:
        """Draw `html`, which `studio.views` made of `view`, and offer what can be done to it."""
        return {
            self.view: gr.update(value=html, visible=True),
            self._paint: gr.Button(visible=bool(self._kinds)),
            self._painter: gr.Column(visible=False),
            self._pictures: view.thumbnail,
            self.error: no_error(),
            **({self.boxes["face"]: gr.Textbox(visible=True)} if "face" in self.boxes else {}),
            **({self.boxes["lips"]: gr.Textbox(visible=True)} if self._kinds == ("lips",) else {}),
        }

    def hide(self) -> Updates:
        """There is no picture."""
        return {
            self.view: gr.update(value="", visible=False),
            self._paint: gr.Button(visible=False),
            self._painter: gr.Column(visible=False),
            self._pictures: None,
            self.error: no_error(),
            **{box: gr.Textbox(visible=False) for box in self.boxes.values()},
        }

    def show_lips(self, wanted: bool) -> Updates:
        """The lower face's input beside the face's, for the task that moves it alone."""
        return {self.boxes["lips"]: gr.Textbox(visible=wanted), self.kind: gr.Radio(visible=wanted)}

    def _connect(self, field: str) -> None:
        boxes = list(self.boxes.values())
        self.view.choose(self._chosen, None, boxes, **QUIET)
        for kind, box in self.boxes.items():
            draw = f"text => {{ em.drawBox('{field}-card', '{kind}', text); }}"
            box.input(None, box, None, js=draw)
        self._paint.click(self._open, self._pictures, [self._painter, self._editor, self.error], **PAGE_ONLY)
        self._take.click(self._taken, [self._editor, self.kind], [self._painter, self.error, *boxes], **PAGE_ONLY).then(
            None, [self.kind, *boxes], None, js=_draw_all(field, tuple(self.boxes))
        )

    def _chosen(self, event: gr.EventData) -> Updates:
        if event.box is None:  # what is found by itself
            return dict.fromkeys(self.boxes.values(), "")
        kind = event.kind if event.kind in self.boxes else self._kinds[0]
        return {self.boxes[kind]: box_text([float(value) for value in event.box])}

    def _open(self, request: gr.Request, thumbnail: bytes | None) -> Updates:
        if thumbnail is None:
            return {self.error: no_error()}
        # In a folder of its own among the uploads, and noted as this visitor's, so that no one else can fetch it.
        folder = Path(get_upload_folder(), secrets.token_hex(20))
        folder.mkdir(parents=True)
        path = folder / "picture.jpg"
        path.write_bytes(thumbnail)
        self._studio.store.note_upload(folder.name, owner_of(request).partition(":")[2])
        value = {"background": str(path), "layers": [], "composite": str(path)}
        return {self._painter: gr.Column(visible=True), self._editor: value, self.error: no_error()}

    def _taken(self, painted: dict[str, Any] | None, kind: Kind) -> Updates:
        box = painted_box(painted["layers"]) if painted else None
        if box is None:
            return {self.error: error(tr("Nothing is painted: brush over the part first."))}
        kind = kind if kind in self.boxes else self._kinds[0]
        return {self._painter: gr.Column(visible=False), self.boxes[kind]: box_text(box), self.error: no_error()}


def painted_box(layers: list[np.ndarray]) -> Box | None:
    """The box around everything painted on `layers` (uint8 [h, w, 4]) as fractions; None where nothing is."""
    painted = [layer[..., 3] > PAINTED_ALPHA for layer in layers if layer.ndim == 3 and layer.shape[2] == 4]
    if not painted:
        return None
    rows, columns = np.nonzero(np.logical_or.reduce(painted))
    if not len(rows):
        return None
    height, width = painted[0].shape
    x0, x1 = int(columns.min()) / width, (int(columns.max()) + 1) / width
    return x0, int(rows.min()) / height, x1, (int(rows.max()) + 1) / height


def read_box(text: Any) -> Box | None:
    """The box that is written there, if one is; what is wrong with it is said when it is used."""
    try:
        x0, y0, x1, y1 = (float(value) for value in str(text or "").split(","))
    except ValueError:
        return None
    return x0, y0, x1, y1


def box_text(box: Box | list[float] | None) -> str:
    """The other way round; empty for none."""
    return ", ".join(f"{value:.4f}" for value in box) if box else ""


def _draw_all(field: str, kinds: tuple[Kind, ...]) -> str:
    names = ", ".join(kinds)
    draws = " ".join(f"em.drawBox('{field}-card', '{kind}', {kind});" for kind in kinds)
    return f"(kind, {names}) => {{ {draws} }}"
