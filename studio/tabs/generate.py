"""The generation tabs: one form and one result column for all five tasks, and what happens between them.

Knows nothing about the engine beyond the contract. A tab only chooses the task. The button returns at once and the
column follows the job; the API's endpoints (`studio.tabs.endpoints`) wait for the video.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from engine.contract.errors import UserError
from engine.contract.presets import preset_settings
from engine.contract.records import read_record
from engine.contract.request import GenerationRequest, new_seed
from engine.contract.settings import Settings
from engine.contract.variants import TASK_INFO, Task, find_variant
from studio import views
from studio.batch import read_batch
from studio.comparison import pinned, shown
from studio.examples import Examples
from studio.job_rows import Job
from studio.service import Studio, with_steps
from studio.tabs.events import ONCE_HEADER, PAGE_ONLY, QUIET, Updates, error, no_error
from studio.tabs.form import FIRST_TASK, RequestForm
from studio.tabs.live_panel import AXIS_NAMES, LIVE_NAMES, try_settings
from studio.tabs.result import ResultPanel
from studio.visitors import owner_of
from studio.words import label, tr

SHOW_WHAT_HAPPENED = """() => {
    const shown = document.querySelector(".em-field-error p") ?? document.querySelector(".em-right");
    shown?.scrollIntoView({ behavior: "smooth", block: "nearest" });
}"""
"""On a narrow screen the result is below the form, and an error may be above the button."""
BATCH_HINT = (
    "A folder with pictures and voices of the same names, or a CSV with its files: one job each. Or drop a video of "
    "ours anywhere on the page to have its settings back."
)
BESIDE_MEDIA = frozenset(
    {"image", "last_image", "video", "audio", "prompt", "model", "task", "face_box", "lip_box", "batch", "stretch"}
)
"""Errors of these fields can be seen without opening the settings."""


BATCH_TAKES = frozenset({"prompt", "model", "seed"})
"""Of the form's fields besides settings: what a batch's rows are given where they do not say otherwise."""


class Workspace:
    """Draws the columns where it is made and connects them. `tabs` is told which task is shown."""

    def __init__(self, studio: Studio, examples: Examples, tabs: gr.Tabs) -> None:
        self.studio, self._tabs = studio, tabs
        self.task = gr.Textbox(FIRST_TASK, visible=False)
        self.editing = gr.Textbox("", visible=False)
        with gr.Row(elem_classes="em-columns", elem_id="workspace") as self.columns:
            with gr.Column(scale=5, min_width=320):
                self.form = RequestForm(studio, examples)
                self._draw_actions()
            with gr.Column(scale=6, min_width=320, elem_classes="em-right"):
                self.result = ResultPanel(studio)
        beside_inputs = dict.fromkeys(self.form.errors.values())
        self._lines = [*beside_inputs, self.form_error, self.batch_error, self.result.redo_error]
        self._connect()

    def _draw_actions(self) -> None:
        self.editing_note = views.drawn(visible=False, elem_id="editing-note")
        self.button = gr.Button(label("Generate"), variant="primary", size="lg", elem_id="generate-button")
        self.form_error = views.field_error("form")
        with (
            gr.Column(elem_classes="em-card"),
            gr.Accordion(label("Batch and restore"), open=False, elem_id="batch"),
        ):
            views.said(lambda: f"<p class='em-caption'>{tr(BATCH_HINT)}</p>")
            with gr.Row(elem_classes="em-line"):
                self.folder = gr.UploadButton(
                    label("A folder…"), file_count="directory", size="sm", elem_id="batch-folder"
                )
                self.table = gr.UploadButton(
                    label("A CSV and files…"), file_count="multiple", size="sm", elem_id="batch-table"
                )
                self.restore = gr.UploadButton(
                    label("Settings of a video…"), file_types=[".mp4"], size="sm", elem_id="restore-video"
                )
            self.batch_error = views.field_error("batch")
        # What the accordion holds is not there while it is closed; page/drop.js needs an upload that always is.
        self.dropped = gr.UploadButton("", file_types=[".mp4"], elem_id="dropped-video", elem_classes="em-never-seen")

    @property
    def shown(self) -> list[gr.blocks.Block]:
        """What a change of the followed job may change."""
        return list(dict.fromkeys([*self._lines, *self.result.outputs]))

    @property
    def everything(self) -> list[gr.blocks.Block]:
        """What restoring a job may change."""
        return list(
            dict.fromkeys([self._tabs, self.task, self.editing, self.editing_note, *self.form.outputs, *self.shown])
        )

    def _connect(self) -> None:
        form, result = self.form, self.result
        every: dict[str, Any] = {"inputs_kwargs": form.parameters}
        form.connect_words(self.task)
        form.model.input(form.show_model, [self.task, form.model], form.outputs, **QUIET)
        self.button.click(
            self._submit,
            [self.task, self.editing, form.random_seed, form.count],
            [form.seed, form.settings_accordion, self.editing, self.editing_note, *self.shown],
            show_progress="minimal",
            show_progress_on=self.button,
            **every,
            **PAGE_ONLY,
        ).then(None, None, None, js=SHOW_WHAT_HAPPENED)
        follow = [result.job_id]
        result.timer.tick(self._poll, [*follow, result.seen], [*self.shown, form.live.said], **QUIET)
        for button, stop in ((result.cancel, "cancel"), (result.pause, "pause"), (result.finish, "finish")):
            button.click(self._stop, [gr.State(stop), *follow], self.shown, **QUIET)
        result.again.click(self._run_again, follow, self.shown, **QUIET)
        result.reuse.click(self._reuse, follow, self.everything, **QUIET)
        result.redo_button.click(self._redo, [*follow, result.start_s, result.stop_s], self.shown, **PAGE_ONLY)
        result.motion.connect(self._show, self.shown)
        result.queue.act(self._act, follow, self.everything, **QUIET)
        for upload in (self.folder, self.table):
            upload.upload(self._batch, [self.task, upload, form.random_seed], self.shown, **every, **PAGE_ONLY)
        for video in (self.restore, self.dropped):
            video.upload(self._restore_video, video, self.everything, **PAGE_ONLY)
        self._connect_live(every)

    def _connect_live(self, every: dict[str, Any]) -> None:
        form, live, result = self.form, self.form.live, self.result
        inputs = {name: component for name, component in form.form.inputs.items() if name in LIVE_NAMES | AXIS_NAMES}
        changed = [*form.form.inputs.values(), live.curves, live.said, form.replay, form.replay_note, *self._lines]
        live.curves.tune(self._tune, result.job_id, changed, **every, **QUIET)
        gr.on(
            [component.input for component in inputs.values()],  # type: ignore[attr-defined]
            self._tune_by_form,
            result.job_id,
            changed,
            trigger_mode="always_last",
            **every,
            **QUIET,
        )
        compared = [self.task, live.preview_on, result.job_id]
        live.curves.redraw(self._compare, compared, [live.rendered, live.said], **every, **QUIET)
        for preset in (live.guidance_preset, live.speed_preset):
            preset.input(
                self._take_presets, [result.job_id, live.guidance_preset, live.speed_preset], changed, **every, **QUIET
            )
        live.reset.click(form.show_model, [self.task, form.model], form.outputs, **QUIET)

    def choose_task(self, task: Task, model: str) -> Updates:
        """What a tab changes."""
        return {self.task: task, **self.form.show_task(task, model)}

    def attach(self, request: gr.Request) -> Updates:
        """On page load: a known browser's latest job with that job's inputs."""
        jobs = self.studio.store.recent(owner_of(request), limit=1)
        return self.form.speakers.show(owner_of(request)) | (self._restore(jobs[0]) if jobs else {})

    def open(self, owner: str, job_id: str, act: str) -> Updates:
        """Carry out one of the buttons of a job's row; whatever it was, the page shows what is now."""
        store = self.studio.store
        match act:
            case "up" | "down":
                store.move(job_id, owner, -1 if act == "up" else 1)
            case "pause":
                store.request_stop(job_id, owner, "pause")
            case "resume" | "again":
                self.studio.run_again(owner, job_id)
            case "delete":
                store.delete(job_id, owner)
        job = store.find(job_id, owner)
        if job is None:
            return self._instead(owner)
        if act in ("edit", "reuse"):
            return self._reused(job, edit=act == "edit")
        return self._restore(job) if act == "open" else self._show(job)

    def _instead(self, owner: str) -> Updates:
        """What is followed where the followed job is gone: the one that runs, or the latest, or nothing."""
        jobs = self.studio.store.recent(owner, limit=1, states=("running",)) or self.studio.store.recent(owner, limit=1)
        return self._show(jobs[0]) if jobs else self.result.show_nothing()

    def _restore(self, job: Job) -> Updates:
        try:
            kept = self.studio.replayed(job)
        except ValidationError:  # asked for by an older version, which had other settings
            return self._show(job)
        return self._filled(kept, job.owner) | self._show(job)

    def _filled(self, request: GenerationRequest, owner: str | None, *, with_media: bool = True) -> Updates:
        return {
            self._tabs: gr.Tabs(selected=request.task),
            self.task: request.task,
            **self.form.fill(request, owner, with_media=with_media),
        }

    def _reused(self, job: Job, *, edit: bool) -> Updates:
        note = f"<p class='em-notice'>{tr('You are changing a waiting job: Generate puts it back in its place.')}</p>"
        kept = self.studio.store.request_of(job)
        updates = self._filled(kept, job.owner) if edit else self._restore(job)
        if kept.redo_span_s:
            updates |= self.form.show_stretch(job.id, kept.redo_span_s)
        return updates | {
            self.editing: job.id if edit else "",
            self.editing_note: gr.update(value=note, visible=edit),
            self.form.random_seed: False,
        }

    def _submit(
        self, request: gr.Request, task: Task, editing: str, random_seed: bool, count: int | None, **given: Any
    ) -> Updates:
        owner = owner_of(request)
        if random_seed:
            given["seed"] = new_seed()
        updates: Updates = {self.form.seed: given["seed"]}
        once = request.headers.get(ONCE_HEADER)
        try:
            values = self.form.request_values(task, given)
            if given["stretch"]:
                values |= self.studio.stretch_of(owner, given["stretch"], values)
            self.studio.check_model(owner, values.get("model"))
            asked = self.studio.check(values, self.form.settings_values(given))
            variants = [asked.model_copy(update={"seed": new_seed()}) for _ in range(int(count or 1) - 1)]
            job = self.studio.queue_all(owner, [asked, *variants], instead_of=editing or None, once=once)[0]
        except UserError as wrong:
            if wrong.field is not None and wrong.field not in BESIDE_MEDIA:
                updates[self.form.settings_accordion] = gr.Accordion(open=True)
            return updates | self._say(wrong.message, wrong.field or "form")
        updates[self.form.seed] = job.request["seed"]
        hidden = {self.editing: "", self.editing_note: gr.update(visible=False)}
        return updates | hidden | self._show(job)

    def _batch(
        self, request: gr.Request, task: Task, files: list[str] | None, random_seed: bool, **given: Any
    ) -> Updates:
        """One job a row: what a row does not say is the form's, but for its media; all are queued, or none."""
        owner = owner_of(request)
        try:
            form = self.form.request_values(task, given | {"settings_by_step": None, "stretch": ""})
            beside = {name: value for name, value in form.items() if name in BATCH_TAKES}
            rows = read_batch([Path(file) for file in files or []], task)
            asked = []
            for values, settings in rows:
                seed = {"seed": new_seed()} if random_seed else {}
                own = beside | seed | values
                self.studio.check_model(owner, own.get("model"))
                asked.append(self.studio.check(own, self.form.settings_values(given) | settings))
            jobs = self.studio.queue_all(owner, asked, once=request.headers.get(ONCE_HEADER))
        except UserError as wrong:
            return self._say(wrong.message, "batch")
        return self._show(jobs[0])

    def _restore_video(self, visitor: gr.Request, path: str) -> Updates:
        try:
            record = read_record(Path(path))
        except UserError as wrong:
            return self._say(wrong.message, "batch") | self._say(wrong.message, "form")
        return self._filled(with_steps(record.request, record), owner_of(visitor), with_media=False) | {
            self.form.random_seed: False,
            **self._say(None, None),
        }

    def _poll(self, request: gr.Request, job_id: str | None, seen: str) -> Updates:
        job = self.studio.store.find(job_id, owner_of(request)) if job_id else None
        if job is None:
            return self._instead(owner_of(request))
        updates = self.result.poll(job, seen)
        if self.result.video in updates:  # what was said of the running job is not true of the ended one
            updates |= {self.form.live.said: gr.update(value="", visible=False)}
        if self.result.video in updates and job.error:  # the state has changed: a failure belongs beside its field
            updates |= self._say(job.error, job.error_field)
        return updates

    def _stop(self, request: gr.Request, stop: Any, job_id: str) -> Updates:
        self.studio.store.request_stop(job_id, owner_of(request), stop)
        return self.open(owner_of(request), job_id, "look")

    def _run_again(self, request: gr.Request, job_id: str) -> Updates:
        return self.open(owner_of(request), job_id, "again")

    def _reuse(self, request: gr.Request, job_id: str) -> Updates:
        return self.open(owner_of(request), job_id, "reuse")

    def _redo(self, request: gr.Request, job_id: str, start_s: float | None, stop_s: float | None) -> Updates:
        try:
            once = request.headers.get(ONCE_HEADER)
            return self._show(self.studio.redo(owner_of(request), job_id, (start_s, stop_s), once=once))
        except UserError as wrong:
            return self._say(wrong.message, wrong.field or "redo_span_s")

    def _act(self, request: gr.Request, event: gr.EventData, job_id: str) -> Updates:
        owner = owner_of(request)
        meant = self.studio.store.find(event.job, owner)
        # What a row deletes is what it showed: by now the job may have become a video.
        changed = event.act == "delete" and (meant is None or meant.state != event.state)
        updates = {} if changed else self.open(owner, event.job, event.act)
        followed = self.studio.store.find(job_id, owner) if job_id else None
        if followed and (changed or event.act in ("up", "down", "delete", "pause", "resume")) and event.job != job_id:
            return {self.result.queue: self.result.waiting(followed)}
        return updates or self._instead(owner)

    def _tune(self, request: gr.Request, event: gr.EventData, job_id: str | None, **given: Any) -> Updates:
        changes = {name: value for name, value in event.changes.items() if name in LIVE_NAMES}
        return self._tuned(owner_of(request), job_id, given, changes)

    def _tune_by_form(self, request: gr.Request, job_id: str | None, **given: Any) -> Updates:
        return self._tuned(owner_of(request), job_id, given, {})

    def _take_presets(
        self, request: gr.Request, job_id: str | None, guidance: str, speed: str, **given: Any
    ) -> Updates:
        steps = int(given["sampling_steps"])
        changes = preset_settings(find_variant(given["model"]), guidance or None, speed or None, steps)
        return self._tuned(owner_of(request), job_id, given, changes)

    def _tuned(self, owner: str, job_id: str | None, given: dict[str, Any], changes: dict[str, Any]) -> Updates:
        """Put `changes` into the inputs, the curves and the running job."""
        live = self.form.live
        settings, wrong = self._settings(given, changes)
        if settings is None:
            assert wrong is not None
            return self._say(wrong.message, wrong.field)
        updates: Updates = {self.form.form.inputs[name]: value for name, value in changes.items()}
        updates |= {live.curves: live.value(settings), self.form.replay: None}
        updates |= {self.form.replay_note: gr.update(value="", visible=False), **self._say(None, None)}
        said = self._follows(owner, job_id, settings)
        return updates | {live.said: gr.update(value=views.notice(said), visible=bool(said))}

    def _follows(self, owner: str, job_id: str | None, settings: Settings) -> str:
        """From which step of the followed job a change counts; nothing where there is no job."""
        step = self.studio.tune(owner, job_id, settings.live)
        job = self.studio.store.find(job_id, owner) if job_id else None
        if step:
            assert job is not None
            steps = job.request["settings"]["sampling"]["steps"]
            return tr("Counts from step {step} of {steps} of the running job.", step=step, steps=steps)
        if step == 0:
            return tr("The running job has no step left: this counts for the next video.")
        return tr("This counts for the next video.") if job is not None and not job.unfinished else ""

    def _settings(self, given: dict[str, Any], changes: dict[str, Any]) -> tuple[Settings | None, UserError | None]:
        variant = find_variant(given["model"])
        return try_settings(variant, self.form.settings_values(given) | changes)

    def _compare(
        self, event: gr.EventData, task: Task, wanted: bool, job_id: str | None, request: gr.Request, **given: Any
    ) -> Updates:
        live = self.form.live
        if not wanted:
            return {live.rendered: gr.update(value="", visible=False)}
        changes = {name: value for name, value in event.changes.items() if name in LIVE_NAMES}
        parameters = {self.form.form.fields[name].parameter: value for name, value in changes.items()}
        try:
            after = self.studio.request_for(
                self.form.request_values(task, given | {"settings_by_step": None}),
                self.form.settings_values(given | parameters),
            )
            job = self.studio.store.find(job_id, owner_of(request)) if job_id else None
            before, after = pinned(after, job)
            html = shown(self.studio.ports.compare(before, after, float(event.at_s)))
        except UserError as wrong:
            return {live.said: gr.update(value=views.error_line(wrong.message), visible=True)}
        return {live.rendered: gr.update(value=html, visible=True)}

    def _show(self, job: Job) -> Updates:
        said = self._say(job.error, job.error_field) if job.error else self._say(None, None)
        return said | self.result.show(job)

    def _say(self, message: str | None, field: str | None) -> Updates:
        """Put `message` beside `field` and clear every other field's error."""
        updates: Updates = {line: no_error() for line in self._lines}
        if message is not None and field is not None:
            others = {"form": self.form_error, "batch": self.batch_error, "redo_span_s": self.result.redo_error}
            lines = self.form.errors | others
            # A rule between two settings names their group; it is said at the group's first.
            found = (line for name, line in lines.items() if f"{name}.".startswith(f"{field}."))
            updates[next(found, self.form_error)] = error(message)
        return updates


TASK_TITLES: dict[Task, str] = {
    "talking-head": "Talking Head",
    "half-body": "Half Body",
    "lip-sync": "Lip Sync",
    "first-last-frame": "First/Last Frame",
    "text-to-video": "Text to Video",
}
assert set(TASK_TITLES) == set(TASK_INFO)
