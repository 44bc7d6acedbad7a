"""One generation tab, drawn from a task's description: its inputs on the left, its result on the right.

Knows nothing about the engine beyond the contract. The page's button and the API endpoint submit the same form; the
button returns at once and the column follows the job, the endpoint waits for the video.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from engine.errors import UserError
from engine.variants import Task
from studio import views
from studio.examples import Examples, label_of
from studio.fields import SettingsForm, draw_settings
from studio.inputs import PictureFile
from studio.jobs import Job
from studio.service import SEED_LIMIT, Studio, new_owner, new_seed
from studio.tabs.result import ResultPanel, Updates

API_POLL_EVERY_S = 0.25
SHOW_WHAT_HAPPENED = """() => {
    const shown = document.querySelector(".em-field-error p") ?? document.querySelector(".em-right");
    shown?.scrollIntoView({ behavior: "smooth", block: "nearest" });
}"""
"""On a narrow screen the result is below the form, and an error may be above the button."""
PAGE_ONLY: dict[str, Any] = {"queue": False, "api_visibility": "private"}
"""Events of the page itself: answered at once, not offered to API callers."""
QUIET: dict[str, Any] = PAGE_ONLY | {"show_progress": "hidden"}


@dataclass(frozen=True)
class TaskPage:
    """How one task is presented. `api_name` is a promise to callers: it does not change."""

    task: Task
    title: str
    api_name: str
    prompt_examples: tuple[str, ...]


TALKING_HEAD = TaskPage(
    task="talking-head",
    title="Talking Head",
    api_name="generate_talking_head",
    prompt_examples=("calm", "happy, nodding", "sad, still", "lively"),
)


class GenerateTab:
    """Draws the tab where it is made and connects it. `owner` holds the browser's secret."""

    def __init__(self, page: TaskPage, studio: Studio, examples: Examples, owner: gr.BrowserState) -> None:
        self.page, self.studio, self.examples, self.owner = page, studio, examples, owner
        with gr.Row(elem_classes="em-columns"):
            with gr.Column(scale=5, min_width=320):
                self._draw_portrait()
                self._draw_voice()
                self._draw_words()
                self.button = gr.Button("Generate", variant="primary", size="lg", elem_id=f"{page.api_name}-button")
                self.form_error = views.field_error("form")
            with gr.Column(scale=6, min_width=320, elem_classes="em-right"):
                self.result = ResultPanel(studio, page.task)
        self.errors: dict[str, gr.HTML] = {
            "image": self.image_error,
            "audio": self.audio_error,
            "prompt": self.prompt_error,
            "seed": self.seed_error,
            **self.form.errors,
        }
        self._connect()

    def _draw_portrait(self) -> None:
        with gr.Column(elem_classes="em-card"):
            views.drawn(views.step_heading(1, "Portrait", "the picture that will speak"))
            with gr.Column(elem_id="portrait-picker") as self.picker:
                self.image = PictureFile(
                    type="filepath",
                    sources=["upload", "webcam", "clipboard"],
                    show_label=False,
                    height=190,
                    elem_id="portrait",
                )
            with gr.Column(visible=False, elem_id="portrait-chosen") as self.chosen:
                self.card = views.drawn(elem_id="portrait-card")
                self.change = gr.Button("Change picture", size="sm", elem_id="portrait-change")
            self.image_error = views.field_error("image")
            self.portrait_examples = gr.Dataset(
                components=[gr.Image(render=False, type="filepath")],
                samples=[[str(path)] for path in self.examples.portraits] or [[None]],
                type="index",
                label="Examples",
                visible=bool(self.examples.portraits),
                elem_id="portrait-examples",
            )

    def _draw_voice(self) -> None:
        with gr.Column(elem_classes="em-card"):
            views.drawn(views.step_heading(2, "Voice", "what it will say"))
            self.audio = gr.Audio(
                type="filepath", sources=["upload", "microphone"], show_label=False, buttons=[], elem_id="voice"
            )
            self.audio_caption = views.drawn(visible=False, elem_id="voice-caption")
            self.audio_error = views.field_error("audio")
            with gr.Row(elem_classes="em-line"):
                self.voice_examples = gr.Dataset(
                    components=[gr.Textbox(render=False)],
                    samples=[[label_of(path)] for path in self.examples.voices] or [[""]],
                    type="index",
                    label="Examples",
                    visible=bool(self.examples.voices),
                    elem_id="voice-examples",
                )
                self.from_video = gr.UploadButton(
                    "Sound of a video…", file_types=["video"], size="sm", scale=0, elem_id="voice-from-video"
                )

    def _draw_words(self) -> None:
        with gr.Column(elem_classes="em-card"):
            views.drawn(views.step_heading(3, "Direction", "optional"))
            self.prompt = gr.Textbox(
                label="Prompt",
                value="",
                placeholder="Mood and head motion, in words",
                lines=2,
                max_length=2000,
                elem_id="prompt",
            )
            self.prompt_error = views.field_error("prompt")
            self.prompt_examples = gr.Dataset(
                components=[gr.Textbox(render=False)],
                samples=[[words] for words in self.page.prompt_examples],
                type="index",
                show_label=False,
                elem_id="prompt-examples",
            )
            with gr.Accordion("Seed and settings", open=False, elem_id="settings") as self.settings_accordion:
                with gr.Row(elem_classes="em-line"):
                    self.seed = gr.Number(
                        label="Seed", value=0, precision=0, minimum=0, maximum=SEED_LIMIT - 1, elem_id="seed"
                    )
                    self.random_seed = gr.Checkbox(label="New seed each time", value=True, elem_id="random-seed")
                self.seed_error = views.field_error("seed")
                self.form: SettingsForm = draw_settings(self.studio.variant)
                self.reset = gr.Button("Reset settings", size="sm", elem_id="settings-reset")

    def _connect(self) -> None:
        settings = list(self.form.inputs.values())
        shown = [*self.errors.values(), self.form_error, *self.result.outputs]
        self.image.change(
            self._view_portrait,
            self.image,
            [self.picker, self.chosen, self.card, self.image_error],
            show_progress="minimal",
            show_progress_on=self.image,
            **PAGE_ONLY,
        )
        self.change.click(lambda: None, None, self.image, **QUIET)
        self.audio.change(
            self._view_voice, self.audio, [self.audio_caption, self.audio_error], show_progress="hidden", **PAGE_ONLY
        )
        self.from_video.upload(lambda path: path, self.from_video, self.audio, **QUIET)
        self.portrait_examples.click(
            self._take_portrait, [self.portrait_examples, self.audio], [self.image, self.audio], **QUIET
        )
        self.voice_examples.click(
            lambda index: str(self.examples.voices[index]), self.voice_examples, self.audio, **QUIET
        )
        self.prompt_examples.click(
            lambda index: self.page.prompt_examples[index], self.prompt_examples, self.prompt, **QUIET
        )
        self.reset.click(lambda: self.form.defaults, None, settings, **QUIET)
        self.button.click(
            self._submit,
            [self.owner, self.random_seed],
            [self.owner, self.seed, self.settings_accordion, *shown],
            inputs_kwargs=self._form_inputs(),
            show_progress="minimal",
            show_progress_on=self.button,
            **PAGE_ONLY,
        ).then(None, None, None, js=SHOW_WHAT_HAPPENED)
        follow = [self.owner, self.result.job_id]
        self.result.timer.tick(self._poll, [*follow, self.result.seen], shown, **QUIET)
        self.result.cancel.click(self._cancel, follow, shown, **QUIET)
        self.result.again.click(self._run_again, follow, shown, **QUIET)
        self.result.history.input(self._open, [self.owner, self.result.history], shown, **QUIET)
        self._connect_api()

    def _form_inputs(self) -> dict[str, Any]:
        """The form as the named parameters of a request."""
        media = {"image": self.image, "audio": self.audio, "prompt": self.prompt, "seed": self.seed}
        return media | {field.parameter: self.form.inputs[field.name] for field in self.form.fields}

    def _connect_api(self) -> None:
        """An endpoint with the form's own inputs, typed and defaulted by them, behind a button that nobody sees."""
        endpoint = gr.Button(visible=False)
        endpoint.click(
            self._generate_and_wait,
            inputs_kwargs=self._form_inputs(),
            outputs=[gr.Video(visible=False), gr.JSON(visible=False)],
            api_name=self.page.api_name,
            api_description=f"{self.page.title}: make a video; returns the mp4 and its record. The same seed and "
            "settings give the same video.",
            concurrency_limit=None,
        )

    def attach(self, owner: str | None, request: gr.Request) -> Updates:
        """On page load: give a new browser its secret, or show a known one its latest job with that job's inputs."""
        if not owner:
            return {self.owner: new_owner()}
        jobs = self.studio.store.recent(_full_owner(owner, request), limit=1)
        return self._restore(jobs[0]) if jobs else {}

    @property
    def attach_outputs(self) -> list[gr.blocks.Block]:
        """Every component that `attach` may change."""
        form = [self.image, self.audio, self.prompt, self.seed, self.random_seed, *self.form.inputs.values()]
        return [self.owner, *form, *self.errors.values(), self.form_error, *self.result.outputs]

    def _restore(self, job: Job) -> Updates:
        try:
            kept = self.studio.store.request_of(job)
        except ValidationError:  # asked for by an older version, which had other settings
            return self._show(job)
        updates: Updates = {self.image: kept.image, self.audio: kept.audio, self.prompt: kept.prompt}
        updates |= {self.seed: kept.seed}
        for name, component in self.form.inputs.items():
            value: Any = kept.settings
            for key in name.split("."):
                value = getattr(value, key)
            updates[component] = value
        return updates | self._show(job)

    def _view_portrait(self, path: str | None) -> Updates:
        unchosen = {self.picker: gr.Column(visible=True), self.chosen: gr.Column(visible=False)}
        if path is None:
            return {**unchosen, self.image_error: _no_error()}
        try:
            view = self.studio.view_portrait(Path(path))
        except UserError as error:
            return {**unchosen, self.image_error: _error(error.message)}
        return {
            self.picker: gr.Column(visible=False),
            self.chosen: gr.Column(visible=True),
            self.card: views.portrait_card(view),
            self.image_error: _no_error(),
        }

    def _view_voice(self, path: str | None) -> Updates:
        if path is None:
            return {self.audio_caption: gr.update(value="", visible=False), self.audio_error: _no_error()}
        try:
            caption = views.voice_caption(self.studio.view_voice(Path(path)))
        except UserError as error:
            return {
                self.audio_caption: gr.update(value="", visible=False),
                self.audio_error: _error(error.message),
            }
        return {self.audio_caption: gr.update(value=caption, visible=True), self.audio_error: _no_error()}

    def _take_portrait(self, index: int, audio: str | None) -> Updates:
        updates: Updates = {self.image: str(self.examples.portraits[index])}
        if audio is None and self.examples.voices:  # one click is enough to have something to generate
            updates[self.audio] = str(self.examples.voices[index % len(self.examples.voices)])
        return updates

    def _submit(self, request: gr.Request, owner: str | None, random_seed: bool, **form: Any) -> Updates:
        owner = owner or new_owner()
        if random_seed:
            form["seed"] = new_seed()
        updates: Updates = {self.owner: owner, self.seed: form["seed"]}
        try:
            job = self.studio.submit(_full_owner(owner, request), *self._asked(form))
        except UserError as error:
            if error.field not in ("image", "audio", "prompt"):
                updates[self.settings_accordion] = gr.Accordion(open=True)
            return updates | self._say(error.message, error.field or "form")
        return updates | self._show(job)

    def _poll(self, request: gr.Request, owner: str | None, job_id: str | None, seen: str) -> Updates:
        updates = self.result.poll(_full_owner(owner, request), job_id, seen)
        if self.result.history in updates and job_id:  # the state has changed: a failure belongs beside its field
            job = self.studio.store.find(job_id, _full_owner(owner, request))
            if job is not None and job.error:
                updates |= self._say(job.error, job.error_field)
        return updates

    def _cancel(self, request: gr.Request, owner: str, job_id: str) -> Updates:
        self.studio.cancel(_full_owner(owner, request), job_id)
        return self._open(request, owner, job_id)

    def _run_again(self, request: gr.Request, owner: str, job_id: str) -> Updates:
        self.studio.run_again(_full_owner(owner, request), job_id)
        return self._open(request, owner, job_id)

    def _open(self, request: gr.Request, owner: str, job_id: str) -> Updates:
        job = self.studio.store.find(job_id, _full_owner(owner, request))
        return self._show(job) if job else {self.form_error: _error("This video is no longer there.")}

    def _show(self, job: Job) -> Updates:
        said = self._say(job.error, job.error_field) if job.error else self._say(None, None)
        return said | self.result.show(job)

    def _say(self, message: str | None, field: str | None) -> Updates:
        """Put `message` beside `field` and clear every other field's error."""
        updates: Updates = {line: _no_error() for line in (*self.errors.values(), self.form_error)}
        if message is not None and field is not None:
            # A rule between two settings names their group; it is said at the group's first.
            lines = (line for name, line in self.errors.items() if f"{name}.".startswith(f"{field}."))
            updates[next(lines, self.form_error)] = _error(message)
        return updates

    def _asked(self, form: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The form's values as request fields, and as settings by dotted name."""
        settings = {field.name: form[field.parameter] for field in self.form.fields}
        media = {name: form[name] for name in ("image", "audio", "prompt", "seed")}
        return {"task": self.page.task, **media}, settings

    async def _generate_and_wait(self, **values: Any) -> tuple[Path, dict[str, Any]]:
        owner = new_owner()
        try:
            job = await asyncio.to_thread(self.studio.submit, owner, *self._asked(values))
        except UserError as error:
            raise gr.Error(error.message) from error
        while job.unfinished:
            await asyncio.sleep(API_POLL_EVERY_S)
            job = self.studio.store.find(job.id, owner) or job
        result = self.studio.store.result_of(job)
        if result is None or job.record is None:
            raise gr.Error(job.error or f"The job was {job.state}.")
        return result, job.record


def _full_owner(owner: str | None, request: gr.Request) -> str:
    """Two people who log in through the same browser do not share jobs."""
    return f"{request.username or ''}:{owner or new_owner()}"


def _error(message: str) -> dict[str, Any]:
    return gr.update(value=views.error_line(message), visible=True)


def _no_error() -> dict[str, Any]:
    return gr.update(value="", visible=False)
