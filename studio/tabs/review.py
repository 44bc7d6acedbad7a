"""The Review tab: label clips from the keyboard, see how far people agree, add clips, take labels away, train on them.

Labelling itself is page script over plain HTTP (`studio.review.routes`); this draws its frame and the leads' forms.
Candidates can be asked for through the API too.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from engine.contract.errors import UserError
from engine.contract.variants import Task
from studio import views
from studio.examples import Examples
from studio.review.annotators import Annotator, lead_of
from studio.review.clips import Imported
from studio.review.desk import Candidates, NewBatch, ReviewDesk
from studio.review.first_batch import clip_count, label_examples
from studio.review.routes import PREFIX
from studio.tabs.events import PAGE_ONLY, QUIET, Updates, error, no_error
from studio.tabs.form import RequestForm
from studio.tabs.speakers import models_of
from studio.tabs.train import TrainTab, read_candidates
from studio.visitors import owner_of
from studio.words import label, tr

LABELLING = """<div class='em-review' tabindex='-1' data-examples='{examples}'>
<div class='em-topline'><select class='em-batch'></select>
<span class='em-me' hidden><button type='button' class='em-name'></button><input class='em-who' hidden maxlength='60'>
</span><span class='em-pace'></span><span class='em-saved' role='status'></span></div>
<div class='em-first'></div>
<div class='em-desk'><div class='em-watch'><div class='em-stage'></div>
<div class='em-timeline'><i></i></div><p class='em-frame'></p></div>
<div class='em-say'><p class='em-hint' role='status'></p><div class='em-ends'></div><div class='em-issues'></div>
<input class='em-note' maxlength='2000'>
<details class='em-help'><summary></summary><ul></ul></details></div></div>
<div class='em-shelf' hidden></div></div>"""
AGREEMENT = "<div class='em-agreement'><select></select><div class='em-body'></div></div>"
FORMATS = ("negatives.jsonl", "preferences.csv", "label-studio.json", "label-studio.xml", "clips.jsonl")
CHANGED = "() => window.dispatchEvent(new Event('em-review-changed'))"
LOGIN_VARIABLE = "OAUTH_CLIENT_ID"
"""The environment variable that Spaces sets where visitors can log in with Hugging Face."""
USED = "Generate, Add clips and the next training use it now."
ALL = 0
REVIEW_CSS_PATH = Path(__file__).parents[1] / "review.css"


class ReviewTab:
    """Draws the tab where it is made."""

    def __init__(self, desk: ReviewDesk, examples: Examples) -> None:
        self._desk, self._examples = desk, examples
        if os.environ.get(LOGIN_VARIABLE):
            gr.LoginButton(elem_id="review-login")
        with gr.Tabs(elem_id="review-tabs"):
            with gr.Tab(label("Label"), id="label"):
                self._draw_labelling()
            with gr.Tab(label("Agreement and progress"), id="agreement"):
                gr.HTML(
                    AGREEMENT,
                    apply_default_css=False,
                    js_on_load="em.reviewAgreement(element.querySelector('.em-agreement'))",
                    elem_id="review-agreement",
                )
            with gr.Tab(label("Add clips"), id="add", elem_classes="em-lead-only"):
                self._draw_adding()
            with gr.Tab(label("Export"), id="export", elem_classes="em-lead-only") as export:
                self._draw_export()
            with gr.Tab(label("Train"), id="train", elem_classes="em-lead-only") as train:
                self._train = TrainTab(desk)
        _add_candidates_endpoint(desk)
        export.select(self._batches, None, self._export_batch, **QUIET)
        train.select(self._train.show, None, self._train.outputs, **QUIET)
        train.select(**self._train.looked, **QUIET)

    def offer_trained(self, task: gr.Textbox, form: RequestForm) -> None:
        """Connect "Use this model": the generation form, new candidates and the next training all take it."""

        def use(request: gr.Request, now: Task) -> Updates:
            try:
                folder = self._train.use_latest(request)
            except UserError as problem:
                return {self._train.said: gr.update(visible=False), self._train.failed: error(problem.message)}
            models = models_of(self._desk.studio, owner_of(request))
            return form.show_model(now, folder) | {
                form.model: gr.Dropdown(choices=models, value=folder),
                self._maker: folder,
                self._train.model: folder,
                self._train.said: gr.update(value=views.notice(tr(USED)), visible=True),
                self._train.failed: no_error(),
            }

        changed = [*form.outputs, self._maker, self._train.model, self._train.said, self._train.failed]
        event = self._train.use.click(use, task, list(dict.fromkeys(changed)), **PAGE_ONLY)
        event.then(**self._train.looked, **QUIET)

    def _draw_labelling(self) -> None:
        said, failed = views.drawn(visible=False, elem_id="first-said"), views.field_error("first")
        desk = gr.HTML(
            LABELLING.format(examples=clip_count(self._desk, self._examples)),
            apply_default_css=False,
            js_on_load="em.review(element.querySelector('.em-review'), trigger); // sends 'act'",
            elem_id="review",
        )

        def begin(annotator: Annotator, request: gr.Request) -> str:
            made = label_examples(self._desk, annotator.name, owner_of(request), self._examples)
            count = self._desk.collector.waiting(made.id)
            return tr("{count} clips are being made; label the first ones as they come.", count=count)

        begun = desk.act(_for_leads(begin, said, failed), None, [said, failed], **QUIET)
        begun.then(None, None, None, js=CHANGED)

    def _draw_adding(self) -> None:
        with gr.Column(elem_classes="em-card"):
            views.said(lambda: views.part_heading("The batch"))
            with gr.Row(elem_classes="em-settings"):
                title = gr.Textbox(label=label("Name"), elem_id="batch-title")
                overlap = gr.Number(
                    1, label=label("Annotators a clip"), precision=0, minimum=1, elem_id="batch-overlap"
                )
                stage = gr.Textbox(label=label("Training stage that made the clips"), elem_id="batch-stage")
            said = views.drawn(visible=False, elem_id="batch-said")
            failed = views.field_error("batch")
            views.said(lambda: f"<h3 class='em-section'>{tr('From a folder of this machine')}</h3>")
            with gr.Row(elem_classes="em-line"):
                folder = gr.Textbox(label=label("Folder"), elem_id="batch-folder", scale=4)
                take_folder = gr.Button(label("Import the folder"), elem_id="import-folder")
            views.said(lambda: f"<h3 class='em-section'>{tr('From your finished videos')}</h3>")
            with gr.Row(elem_classes="em-line"):
                words = gr.Textbox(
                    label=label("Find"), placeholder=label("Words of the prompt, a file name, a seed"), scale=4
                )
                take_jobs = gr.Button(label("Import these videos"), elem_id="import-jobs")
            views.said(lambda: f"<h3 class='em-section'>{tr('Made now: candidates of a model')}</h3>")
            with gr.Row(elem_classes="em-settings"):
                model = self._maker = gr.Textbox(
                    self._desk.studio.model, label=label("Model or its folder"), elem_id="candidates-model"
                )
                other = gr.Textbox(label=label("A second model, to compare in pairs"), elem_id="candidates-other")
                seeds = gr.Number(4, label=label("Seeds"), precision=0, minimum=1, elem_id="candidates-seeds")
            with gr.Row(elem_classes="em-settings"):
                images = gr.File(
                    label=label("Pictures"), file_count="multiple", elem_id="candidates-images", height=140
                )
                voices = gr.File(label=label("Voices"), file_count="multiple", elem_id="candidates-voices", height=140)
                prompts = gr.Textbox(label=label("Prompts, one a line"), lines=4, elem_id="candidates-prompts")
            generate = gr.Button(label("Generate the candidates"), variant="primary", elem_id="generate-candidates")
        outputs = [said, failed]

        def from_folder(batch: NewBatch, request: gr.Request, *values: Any) -> str:
            (path,) = values
            if not path:
                raise UserError("Give the folder that holds the videos.", "folder")
            return _imported(self._desk.import_folder(batch, Path(path))[1])

        def from_jobs(batch: NewBatch, request: gr.Request, *values: Any) -> str:
            return _imported(self._desk.import_jobs(batch, owner_of(request), *values)[1])

        def candidates(batch: NewBatch, request: gr.Request, *values: Any) -> str:
            first, second, *media = values
            wanted, owner = read_candidates(*media), owner_of(request)
            if second.strip():
                made = self._desk.compare(batch, owner, (first.strip(), second.strip()), wanted)
            else:
                made = self._desk.generate(batch, owner, first.strip(), wanted)
            count = self._desk.collector.waiting(made.id)
            return tr("{count} clips are being made; label the first ones as they come.", count=count)

        def into_a_batch(add: Callable[..., str]) -> Callable[..., str]:
            def do(annotator: Annotator, request: gr.Request, *values: Any) -> str:
                name, count, made_in, *others = values
                return add(NewBatch(annotator.name, name, int(count or 1), made_in), request, *others)

            return do

        for button, do, inputs in (
            (take_folder, from_folder, [folder]),
            (take_jobs, from_jobs, [words]),
            (generate, candidates, [model, other, images, voices, prompts, seeds]),
        ):
            given = [title, overlap, stage, *inputs]
            event = button.click(_for_leads(into_a_batch(do), said, failed), given, outputs, **PAGE_ONLY)
            event.then(None, None, None, js=CHANGED)

    def _draw_export(self) -> None:
        with gr.Column(elem_classes="em-card"):
            with gr.Row(elem_classes="em-settings"):
                self._export_batch = gr.Dropdown(
                    [(label("Every batch"), ALL)], value=ALL, label=label("Batch"), elem_id="export-batch"
                )
                issue = gr.Dropdown(
                    [(label("Every issue"), ""), *((each.title, each.id) for each in self._desk.store.issues.values())],
                    value="",
                    label=label("Issue"),
                    elem_id="export-issue",
                )
            links = views.drawn(_links(ALL, ""), elem_id="export-links")
            views.said(lambda: f"<h3 class='em-section'>{tr('To a dataset on Hugging Face')}</h3>")
            with gr.Row(elem_classes="em-settings"):
                name = gr.Textbox(label=label("Dataset"), placeholder="owner/name", elem_id="push-name")
                token = gr.Textbox(label=label("Token"), type="password", elem_id="push-token")
                public = gr.Checkbox(label=label("Public"), elem_id="push-public")
            push = gr.Button(label("Push the labels with their clips"), elem_id="push")
            said = views.drawn(visible=False, elem_id="push-said")
            failed = views.field_error("push")
        gr.on(
            [self._export_batch.change, issue.change],
            _links,
            [self._export_batch, issue],
            links,
            **QUIET,
        )

        def push_labels(annotator: Annotator, request: gr.Request, *values: Any) -> str:
            from studio.review.dataset_push import push_dataset

            batch, only, where, secret, shown = values
            address = push_dataset(
                self._desk.store,
                self._desk.clips,
                where,
                secret,
                batch_id=batch or None,
                issue=only or None,
                private=not shown,
            )
            return tr("The labels are at {address}", address=address)

        inputs = [self._export_batch, issue, name, token, public]
        push.click(_for_leads(push_labels, said, failed), inputs, [said, failed], **PAGE_ONLY)

    def _batches(self, request: gr.Request) -> dict[str, Any]:
        try:
            lead_of(request.request)
        except UserError:
            return gr.skip()
        held = [(batch.title, batch.id) for batch in self._desk.store.batches()]
        return gr.update(choices=[(label("Every batch"), ALL), *held])


def _add_candidates_endpoint(desk: ReviewDesk) -> None:
    """`/generate_candidates` behind a button that nobody sees: a new batch, by its number, for leads."""

    def generate_candidates(
        request: gr.Request,
        *,
        images: list[str],
        voices: list[str],
        model: str | None = None,
        prompts: list[str] | None = None,
        seeds: int | None = None,
        first_seed: int | None = None,
        title: str | None = None,
    ) -> dict[str, Any]:
        wanted = Candidates(
            [Path(path) for path in images], [Path(path) for path in voices], prompts or [], seeds or 1, first_seed
        )
        try:
            batch = NewBatch(lead_of(request.request).name, title or "")
            made = desk.generate(batch, owner_of(request), model or desk.studio.model, wanted)
        except UserError as problem:
            raise gr.Error(problem.message) from problem
        return {"batch": made.id, "title": made.title, "clips": desk.collector.waiting(made.id)}

    def plain(name: str, description: str, **schema: Any) -> Api:
        return Api(None, schema | {"description": description}, name)

    inputs: dict[str, gr.blocks.Block] = {
        "images": gr.File(file_count="multiple", visible=False, label="images"),
        "voices": gr.File(file_count="multiple", visible=False, label="voices"),
        "model": plain(
            "model", "A model's name, or the folder of a checkpoint on the studio's machine.", type="string"
        ),
        "prompts": plain("prompts", "None is one empty prompt.", type="array", items={"type": "string"}),
        "seeds": plain("seeds", "How many of each.", type="integer", minimum=1),
        "first_seed": plain(
            "first_seed", "The seeds count on from it; otherwise a random one.", type="integer", minimum=0
        ),
        "title": plain("title", "The batch's name.", type="string"),
    }
    gr.Button(visible=False).click(
        generate_candidates,
        inputs_kwargs=inputs,
        outputs=gr.JSON(visible=False),
        api_name="generate_candidates",
        api_description=(
            "Makes clips to be labelled: every picture with every voice, every prompt and every seed. Returns the new "
            "batch's number at once; the clips come as they get ready. For who leads the studio."
        ),
    )


def _for_leads(do: Callable[..., str], said: gr.HTML, failed: gr.HTML) -> Callable[..., Updates]:
    """An event that only a lead may cause; `do` says what came of it."""

    def act(request: gr.Request, *values: Any) -> Updates:
        try:
            words = do(lead_of(request.request), request, *values)
        except UserError as problem:
            return {said: gr.update(visible=False), failed: error(problem.message)}
        return {said: gr.update(value=views.notice(words), visible=True), failed: no_error()}

    return act


def _imported(taken: Imported) -> str:
    words = [tr("{count} clips are in the batch.", count=len(taken.clips))]
    if taken.refused:
        words.append(tr("Not made here, and left out: {names}.", names=", ".join(taken.refused[:5])))
    if taken.without_latents:
        words.append(tr("{count} came without latents: good to label, not to train on.", count=taken.without_latents))
    if taken.without_inputs:
        words.append(tr("Of {count} the picture or the voice was not found.", count=taken.without_inputs))
    return " ".join(words)


def _links(batch: int, issue: str) -> str:
    asked = f"?batch={batch or ''}&issue={issue}"
    items = "".join(
        f"<a class='em-small' href='{PREFIX[1:]}/export/{name}{asked}' download>{name}</a>" for name in FORMATS
    )
    return f"<p class='em-acts'>{items}</p>"
