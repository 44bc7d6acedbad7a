"""The left-hand column: everything that a request is made of, for all tasks at once; a task shows what it reads.

So what was chosen for one task is still there in the next. Draws and fills; what happens on a click is
`studio.tabs.generate`'s business.
"""

from contextlib import suppress
from typing import Any

import gradio as gr

from engine.contract.errors import UserError
from engine.contract.request import SEED_LIMIT, GenerationRequest
from engine.contract.variants import TASK_INFO, VARIANTS, Task, Variant, find_variant
from studio import views
from studio.examples import Examples, label_of
from studio.fields import SettingsForm, draw_settings
from studio.service import Studio
from studio.spaces import surroundings
from studio.tabs.events import QUIET, Updates, no_error
from studio.tabs.face_boxes import box_text
from studio.tabs.live_panel import LivePanel, is_live
from studio.tabs.media import FilmCard, PictureCard, VoiceCard
from studio.tabs.speakers import SpeakerPanel, models_of
from studio.visitors import owner_of
from studio.words import label, tr

PROMPT_EXAMPLES = ("calm", "happy, nodding", "sad, still", "lively")
MOST_SEEDS = 50
CARDS = {
    "video": ("Film", "whose lips will move to the voice"),
    "image": ("Picture", "who will speak"),
    "last_image": ("Last picture", "what it ends on"),
    "audio": ("Voice", "what it will say"),
}
"""The inputs' titles and hints."""
FIRST_TASK: Task = "talking-head"
"""The one that an opened page shows."""
FILM_LIPS = "film_lip_box"
"""The form's name for the lower face on the film; a request has one such box, whichever it is on."""


class RequestForm:
    """The cards, the words, the settings. `parameters` are its inputs by the names of a request."""

    def __init__(self, studio: Studio, examples: Examples) -> None:
        self._studio = studio
        variant = studio.variant
        with gr.Column(elem_classes="em-card em-model"):
            self.model = gr.Dropdown(models_of(studio, None), value=studio.model, label=label("Model"), elem_id="model")
            self.task_note = views.drawn(visible=False, elem_id="task-note")
            self.model_error = views.field_error("model")
            self.speakers = SpeakerPanel(studio, self.model)
        self._draw_cards(studio, examples)
        with gr.Column(elem_classes="em-card"):
            views.said(lambda: views.part_heading("Direction", "optional"))
            self._draw_words()
            with gr.Accordion(label("Seed and settings"), open=False, elem_id="settings") as self.settings_accordion:
                self._draw_seed()
                rest = draw_settings(variant, of=lambda field: not is_live(field))
            self.live = LivePanel(variant)
        self._draw_stretch()
        self.form: SettingsForm = rest | self.live.form
        self.replay = gr.JSON(visible=False)
        self.replay_note = views.drawn(visible=False, elem_id="replay-note")
        self.errors: dict[str, gr.HTML] = {
            **{card.field: card.error for card in self._cards()},
            "face_box": self.image.faces.error,
            "lip_box": self.image.faces.error,
            "prompt": self.prompt_error,
            "seed": self.seed_error,
            "model": self.model_error,
            "task": self.model_error,
            "stretch": self.stretch_error,
            **self.form.errors,
        }

    def _draw_cards(self, studio: Studio, examples: Examples) -> None:
        # A page that shows what its first event hides may never become ready: Gradio waits for all that was visible.
        reads, faces = TASK_INFO[FIRST_TASK].media, examples.portraits

        def drawn(field: str) -> dict[str, Any]:
            return {"field": field, "words": CARDS[field], "visible": field in reads}

        self.video = FilmCard(studio, **drawn("video"))
        self.image = PictureCard(studio, **drawn("image"), samples=faces, kinds=("face", "lips"))
        self.last_image = PictureCard(studio, **drawn("last_image"), samples=faces, kinds=())
        self.audio = VoiceCard(studio, **drawn("audio"), samples=examples.voices)
        self.image.connect_examples(self.audio)
        self.last_image.connect_examples()

    def _draw_words(self) -> None:
        self.prompt = gr.Textbox(
            label=label("Prompt"),
            value="",
            placeholder=label("Mood and head motion, in words"),
            lines=2,
            max_length=2000,
            elem_id="prompt",
        )
        self.prompt_note = views.drawn(visible=False, elem_id="prompt-note")
        self.prompt_error = views.field_error("prompt")
        self.prompt_examples = gr.Dataset(
            components=[gr.Textbox(render=False)],
            samples=[[words] for words in PROMPT_EXAMPLES],
            type="index",
            show_label=False,
            elem_id="prompt-examples",
        )

    def _draw_seed(self) -> None:
        with gr.Row(elem_classes="em-line"):
            self.seed = gr.Number(
                label=label("Seed"), value=0, precision=0, minimum=0, maximum=SEED_LIMIT - 1, elem_id="seed"
            )
            self.random_seed = gr.Checkbox(label=label("New seed each time"), value=True, elem_id="random-seed")
            self.count = gr.Number(
                label=label("Videos"), value=1, precision=0, minimum=1, maximum=MOST_SEEDS, elem_id="count"
            )
        self.seed_error = views.field_error("seed")

    def _draw_stretch(self) -> None:
        self.stretch = gr.Textbox(visible=False)
        """The job whose stretch Generate makes anew once more, or nothing."""
        with gr.Row(visible=False, elem_classes="em-line", elem_id="stretch") as self.stretch_row:
            self.stretch_note = gr.HTML(apply_default_css=False)
            whole = gr.Button(label("Make the whole video"), size="sm", scale=0, elem_id="whole-video")
        self.stretch_error = views.field_error("stretch")
        updates = self.hide_stretch() | {self.stretch_error: no_error()}
        whole.click(lambda: updates, None, list(updates), **QUIET)

    def _cards(self) -> tuple[PictureCard | FilmCard | VoiceCard, ...]:
        return self.video, self.image, self.last_image, self.audio

    @property
    def parameters(self) -> dict[str, gr.components.Component]:
        """Every input of a request, by name."""
        media = {card.field: card.file for card in self._cards()}
        of_image, of_film = self.image.faces.boxes, self.video.faces.boxes
        boxes = {"face_box": of_image["face"], "lip_box": of_image["lips"], FILM_LIPS: of_film["lips"]}
        words = {"prompt": self.prompt, "seed": self.seed, "model": self.model, "settings_by_step": self.replay}
        return {**media, **boxes, **words, "stretch": self.stretch, **self.form.parameters}

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """Every component that `fill`, `show_task` and `show_model` change."""
        cards = [card.card for card in self._cards()]
        noted = [self.task_note, self.replay_note, self.random_seed, self.live.curves, self.image.faces.kind]
        noted += [self.stretch_row, self.stretch_note]
        parts = [*self.parameters.values(), *self.form.columns.values(), *cards, *noted, *self.speakers.outputs]
        return list(dict.fromkeys(parts))

    def request_values(self, task: Task, given: dict[str, Any]) -> dict[str, Any]:
        """Of the form's values, the request fields that `task` reads."""
        reads = {*TASK_INFO[task].media, "prompt", "seed", "model"}
        values = {name: given[name] for name in (*reads, "settings_by_step") if given.get(name) is not None}
        # No seed means that one is drawn, no box that the face is looked for.
        if "image" in reads and given.get("image") and (given.get("face_box") or "").strip():
            values["face_box"] = given["face_box"]
        if values.get("video") and "image" in values:  # what was chosen for another task is still there: a film wins
            del values["image"]
            values.pop("face_box", None)
        lips = given.get(FILM_LIPS if given.get("video") else "lip_box")
        if task == "lip-sync" and (lips or "").strip():
            values["lip_box"] = lips
        return {"task": task, **values}

    def settings_values(self, given: dict[str, Any]) -> dict[str, Any]:
        """Of the form's values, the settings that the chosen model uses, by dotted name."""
        return self.form.given(given, find_variant(given["model"]))

    def show_task(self, task: Task, model: str) -> Updates:
        """The inputs that `task` reads, and what to say where `model` cannot do it."""
        reads = TASK_INFO[task].media
        updates: Updates = {card.card: gr.Column(visible=card.field in reads) for card in self._cards()}
        updates |= self.image.faces.show_lips(task == "lip-sync")
        return updates | {self.task_note: self._task_note(task, find_variant(model))}

    @property
    def chips(self) -> dict[gr.Dataset, list[str]]:
        """The examples that are words, by where they stand."""
        return {
            self.prompt_examples: list(PROMPT_EXAMPLES),
            self.audio.examples: list(map(label_of, self.audio.samples)),
        }

    def connect_words(self, task: gr.Textbox) -> None:
        """The example words fill the prompt; what the chosen model passes over in it is said while it is typed."""
        examples = self.prompt_examples
        examples.click(lambda index: PROMPT_EXAMPLES[index], examples, self.prompt, **QUIET)
        gr.on(
            [self.prompt.change, self.model.change],
            self._said_of_words,
            [task, self.model, self.prompt],
            self.prompt_note,
            trigger_mode="always_last",
            **QUIET,
        )

    def _said_of_words(self, request: gr.Request, task: Task, model: str, prompt: str) -> dict[str, Any]:
        said: list[str] = []
        with suppress(UserError):
            self._studio.check_model(owner_of(request), model)
            beside = self._studio.ports.notices(model, task, "")
            said = [notice for notice in self._studio.ports.notices(model, task, prompt) if notice not in beside]
        return gr.update(value="".join(map(views.notice, said)), visible=bool(said))

    def _task_note(self, task: Task, variant: Variant) -> Updates:
        said = self._studio.ports.notices(str(variant.folder), task, "") if variant.is_installed else []
        if task not in variant.tasks:
            able = [other for other in VARIANTS.values() if task in other.tasks]
            said.append(
                tr(
                    "{model} cannot do this; choose {able}.",
                    model=variant.title.split(" (")[0],
                    able=" / ".join(o.name for o in able),
                )
            )
            if not any(other.is_installed for other in able):
                said.append(_how_to_install(able[0]))
        if not variant.is_installed:
            said.append(_how_to_install(variant))
        return gr.update(value="".join(views.notice(tr(words)) for words in said), visible=bool(said))

    def show_model(self, task: Task, model: str) -> Updates:
        """The settings that `model` uses, at its own values."""
        variant = find_variant(model)
        settings = variant.default_settings
        updates = self.form.show(settings, variant) | self.show_task(task, model)
        return updates | {self.live.curves: self.live.value(settings)}

    def fill(self, request: GenerationRequest, owner: str | None, *, with_media: bool = True) -> Updates:
        """The form as it was when `owner` made `request`; the media only where they can be shown."""
        models = models_of(self._studio, owner)
        known = {choice for _, choice in models}
        model = request.model if request.model in known else self._studio.model
        variant = find_variant(model)
        updates = self.form.show(request.settings, variant) | self.show_task(request.task, model)
        if with_media:
            updates |= {card.file: getattr(request, card.field) for card in self._cards()}
            of_image, lips = self.image.faces.boxes, box_text(request.lip_box)
            updates[of_image["face"]] = box_text(request.face_box)
            updates[of_image["lips"]] = gr.Textbox(value=lips, visible=request.task == "lip-sync")
            updates[self.video.faces.boxes["lips"]] = lips
        steps = [live.model_dump(mode="json") for live in request.settings_by_step]
        notes = [tr("Replays the settings of every step as they were changed while it ran.")] if steps else []
        if request.redo_span_s and not with_media:
            notes.append(tr("A stretch of this video was made anew; from its file alone, all of it is made."))
        return updates | {
            self.prompt: request.prompt,
            self.seed: request.seed,
            self.model: gr.Dropdown(choices=models, value=model),
            self.replay: steps or None,
            self.replay_note: gr.update(value="".join(map(views.notice, notes)), visible=bool(notes)),
            self.live.curves: self.live.value(request.settings),
            **self.hide_stretch(),
        }

    def show_stretch(self, job_id: str, span_s: tuple[float, float]) -> Updates:
        """Generate makes the stretch of that job anew once more."""
        start_s, stop_s = (f"{moment_s:.2f}" for moment_s in span_s)
        words = tr("Makes {start}–{stop} s of this video anew; the rest of it stays.", start=start_s, stop=stop_s)
        return {self.stretch: job_id, self.stretch_row: gr.Row(visible=True), self.stretch_note: views.notice(words)}

    def hide_stretch(self) -> Updates:
        """Generate makes whole videos."""
        return {self.stretch: "", self.stretch_row: gr.Row(visible=False), self.stretch_note: ""}


def _how_to_install(variant: Variant) -> str:
    """To who may; a Space's visitor can only go elsewhere."""
    if surroundings().is_space:
        return tr("This Space has no {model}; on a machine of your own it can be downloaded.", model=variant.name)
    command = f"python -m engine models download {variant.name}"
    return tr("{model} is not installed yet. It is downloaded with: {command}", model=variant.name, command=command)
