"""Closing the loop: train on the labels, watch the loss and the guards, then compare before and after, blind.

Draws what `studio.review.training` reads from a run's files; the training itself is a program of its own.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.contract.errors import UserError
from engine.contract.unlearning import DEFAULT_PRESET, PRESETS
from engine.contract.variants import find_variant
from studio import views
from studio.review.annotators import lead_of
from studio.review.desk import Candidates, NewBatch, ReviewDesk
from studio.review.training import LABELS_NAME, Training
from studio.review.training_needs import Needs, look
from studio.tabs.events import PAGE_ONLY, QUIET, Updates, error, no_error
from studio.visitors import owner_of
from studio.words import label, tr

POLL_EVERY_S = 1.5
ALL = 0
GUARD_TIMES_BUDGET = 2.0
HELD_OUT_SLACK = 0.03
"""The trainer's own guards, drawn as lines."""
WIDTH, HEIGHT = 320, 110
STATE_WORDS = {"running": "Training", "done": "Finished", "failed": "Ended before its time", "stopped": "Stopped"}
PRESET_WORDS = {
    "gentle": "Gently: moves little, keeps most",
    "forgetting": "Thoroughly: took wide mouths from 45 to 12 %",
}
CHANGED = "() => window.dispatchEvent(new Event('em-review-changed'))"


class TrainTab:
    """Draws the tab where it is made; `show` says what is in it now."""

    def __init__(self, desk: ReviewDesk) -> None:
        self._desk = desk
        with gr.Column(elem_classes="em-card"):
            views.said(lambda: views.part_heading("Train on these labels", "a block of Negative-DPO"))
            with gr.Row(elem_classes="em-settings"):
                self._batch = gr.Dropdown(
                    [(label("Every batch"), ALL)], value=ALL, label=label("Batch"), elem_id="train-batch"
                )
                issue = gr.Dropdown(
                    [(label("Every issue"), ""), *((each.title, each.id) for each in desk.store.issues.values())],
                    value="",
                    label=label("Issue"),
                    elem_id="train-issue",
                )
                self.model = gr.Textbox(
                    desk.studio.model, label=label("Model that made the clips"), elem_id="train-model"
                )
                preset = gr.Radio(
                    [(label(PRESET_WORDS[name]), name) for name in PRESETS],
                    value=DEFAULT_PRESET,
                    label=label("How it unlearns"),
                    elem_id="train-preset",
                )
                usual = PRESETS[DEFAULT_PRESET]
                steps = gr.Number(usual.steps, label=label("Steps"), precision=0, minimum=1, elem_id="train-steps")
                budget = gr.Slider(
                    0.05, 1.0, usual.forget_budget, step=0.05, label=label("Forget budget"), elem_id="train-budget"
                )
            self._plan = views.drawn(elem_id="train-plan")
            with gr.Row(elem_classes="em-line"):
                train = gr.Button(label("Train on these labels"), variant="primary", elem_id="train")
                self._stop = gr.Button(label("Stop the training"), visible=False, elem_id="train-stop")
                self.use = gr.Button(label("Use this model"), visible=False, elem_id="train-use")
            self.said = views.drawn(visible=False, elem_id="train-said")
            self.failed = views.field_error("train")
            self._card = views.drawn(elem_id="training")
        with gr.Column(elem_classes="em-card", visible=False) as self._compare:
            views.said(
                lambda: views.part_heading("Before and after, blind", "give pictures and voices it has not seen")
            )
            with gr.Row(elem_classes="em-settings"):
                images = gr.File(label=label("Pictures"), file_count="multiple", height=140, elem_id="compare-images")
                voices = gr.File(label=label("Voices"), file_count="multiple", height=140, elem_id="compare-voices")
                prompts = gr.Textbox("calm\nhappy\nnodding", label=label("Prompts, one a line"), lines=4)
                seeds = gr.Number(2, label=label("Seeds"), precision=0, minimum=1)
            compare = gr.Button(label("Make the pairs"), elem_id="compare")
            self._said = views.drawn(visible=False, elem_id="compare-said")
            self._compare_failed = views.field_error("compare")
        timer = gr.Timer(POLL_EVERY_S, active=False)
        self._timer = timer
        chosen = [self._batch, issue, self.model]
        train.click(self._start, [*chosen, preset, steps, budget], [*self.outputs, self._plan], **PAGE_ONLY)
        preset.input(_numbers_of, preset, [steps, budget], **QUIET)
        looked = {"fn": self._look, "inputs": chosen, "outputs": self._plan}
        gr.on([self._batch.input, issue.input, self.model.submit, self.model.blur], **looked, **QUIET)
        self.looked = looked
        self._stop.click(self._ask_to_stop, None, self.outputs, **PAGE_ONLY)
        timer.tick(self.show, None, self.outputs, **QUIET)
        made = compare.click(
            self._make_pairs, [images, voices, prompts, seeds], [self._said, self._compare_failed], **PAGE_ONLY
        )
        made.then(None, None, None, js=CHANGED)

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """Every component that `show` changes."""
        return [self._batch, self._stop, self.use, self.failed, self._card, self._compare, self._timer]

    def show(self, request: gr.Request) -> Updates:
        """The latest training, and the batches to train on; a lead's to know."""
        try:
            lead_of(request.request)
        except UserError:
            return gr.skip()
        return self._shown()

    def _shown(self) -> Updates:
        latest = next(iter(self._desk.trainings.all()), None)
        running = latest is not None and latest.state == "running"
        made = latest is not None and not running and latest.model_folder is not None
        batches = [(batch.title, batch.id) for batch in self._desk.store.batches() if batch.kind == "label"]
        return {
            self._batch: gr.update(choices=[(label("Every batch"), ALL), *batches]),
            self._card: training_card(latest) if latest else "",
            self._stop: gr.update(visible=running),
            self.use: gr.update(visible=made),
            self._compare: gr.update(visible=made),
            self._timer: gr.Timer(active=running),
        }

    def _start(self, request: gr.Request, *values: Any) -> Updates:
        batch, issue, model, preset, steps, budget = values
        try:
            lead_of(request.request)
            needs = self._needs(batch, issue, model)
            if needs.missing:
                raise UserError(" ".join(needs.missing), "train")
            run = self._desk.trainings.prepare()
            (run / LABELS_NAME).write_text("".join(f"{line}\n" for line in needs.usable.lines), encoding="utf-8")
            self._desk.trainings.start(
                run,
                find_variant(model.strip()).folder,
                issue or None,
                labels=needs.usable.bad,
                steps=int(steps or 1),
                budget=float(budget),
                preset=preset,
                speech=needs.speech,
            )
        except UserError as problem:
            return {self.failed: error(problem.message)}
        return self._shown() | {self.failed: no_error(), self._plan: _plan(needs)}

    def _needs(self, batch: int, issue: str, model: str) -> Needs:
        desk = self._desk
        runs = desk.trainings.folder
        return look(desk.store, desk.clips, model, runs, batch_id=batch or None, issue=issue or None)

    def _look(self, request: gr.Request, batch: int, issue: str, model: str) -> str:
        """What a training on this would need, before anybody asks for it."""
        try:
            lead_of(request.request)
            return _plan(self._needs(batch, issue, model))
        except UserError as problem:
            return f"<ul class='em-plan'><li class='em-bad'>{escape(problem.message)}</li></ul>"

    def use_latest(self, request: gr.Request) -> str:
        """Offer the latest training's model to everybody; returns its folder. Raises UserError."""
        lead_of(request.request)
        latest = next(iter(self._desk.trainings.all()), None)
        return str(self._desk.trainings.use(latest.name if latest else ""))

    def _ask_to_stop(self, request: gr.Request) -> Updates:
        try:
            lead_of(request.request)
        except UserError as problem:
            return {self.failed: error(problem.message)}
        for training in self._desk.trainings.all()[:1]:
            self._desk.trainings.stop(training.name)
        return self._shown()

    def _make_pairs(
        self, request: gr.Request, images: list[str] | None, voices: list[str] | None, prompts: str, seeds: float | None
    ) -> Updates:
        try:
            annotator = lead_of(request.request)
            latest = next(iter(self._desk.trainings.all()), None)
            if latest is None or latest.model_folder is None:
                raise UserError("There is no trained model yet.", "compare")
            batch = self._desk.compare(
                NewBatch(annotator.name, tr("Before and after {name}", name=latest.name)),
                owner_of(request),
                (latest.model, str(latest.model_folder)),
                read_candidates(images, voices, prompts, seeds),
            )
        except UserError as problem:
            return {self._said: gr.update(visible=False), self._compare_failed: error(problem.message)}
        count = self._desk.collector.waiting(batch.id) // 2
        words = tr("{count} pairs are being made; they wait in Label under {title}.", count=count, title=batch.title)
        return {self._said: gr.update(value=views.notice(words), visible=True), self._compare_failed: no_error()}


def _numbers_of(preset: str) -> tuple[int, float]:
    return PRESETS[preset].steps, PRESETS[preset].forget_budget


def _plan(needs: Needs) -> str:
    """What a training would learn from, and what it lacks."""
    lines = [f"<li>{escape(line)}</li>" for line in needs.there]
    lines += [f"<li class='em-bad'>{escape(line)}</li>" for line in needs.missing]
    return f"<ul class='em-plan'>{''.join(lines)}</ul>"


def read_candidates(
    images: Sequence[str] | None, voices: Sequence[str] | None, prompts: str, seeds: float | None
) -> Candidates:
    """What a form asks to be made."""
    lines = [line.strip() for line in prompts.splitlines() if line.strip()]
    return Candidates(
        [Path(path) for path in images or ()], [Path(path) for path in voices or ()], lines, int(seeds or 1)
    )


def training_card(training: Training) -> str:
    """How a training stands: its losses, its guards, its last words."""
    rows = training.losses
    step = rows[-1]["step"] + 1 if rows else 0
    facts = tr(
        "{state} · {name} · {labels} labels · step {step} of {steps}",
        state=tr(STATE_WORDS[training.state]),
        name=training.name,
        labels=training.labels,
        step=step,
        steps=training.steps,
    )
    held = [row for row in rows if "held_out" in row]
    charts = [
        _chart(tr("Loss on real clips"), [("sft", _points(rows, "sft"))]),
        _chart(tr("Loss on negatives"), [("ndpo", _points(rows, "ndpo"))]),
        _chart(tr("Drift D/s"), [("drift", _points(rows, "drift"))], GUARD_TIMES_BUDGET * training.budget),
        _chart(
            tr("Held-out loss against the start"),
            [("held-out", [(row["step"], row["held_out"] / row["held_out_at_start"]) for row in held])],
            1 + HELD_OUT_SLACK,
        ),
    ]
    log = f"<pre>{escape(training.log)}</pre>" if training.state != "running" and training.log else ""
    stopped = (
        views.notice(tr("A guard stopped it: {reason}", reason=training.stopped_by)) if training.stopped_by else ""
    )
    head = f"<p class='em-where em-training-{training.state}'>{escape(facts)}</p>"
    return f"{head}{stopped}<div class='em-charts'>{''.join(charts)}</div>{log}"


def _line(places: list[tuple[float, float]]) -> str:
    """A line through one place alone has no length, and is not drawn: a dot leads to itself, and is thick."""
    alone = [(min(x, WIDTH - 6.0), y) for x, y in places] * 2
    kind, places = ("em-dot", alone) if len(places) == 1 else ("em-line-through", places)
    return f"<polyline class='{kind}' points='{' '.join(f'{x:.1f},{y}' for x, y in places)}'/>"


def _points(rows: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(row["step"], row[name]) for row in rows if isinstance(row.get(name), int | float)]


def _chart(title: str, lines: Sequence[tuple[str, list[tuple[float, float]]]], limit: float | None = None) -> str:
    """A small plot over the steps; `limit` is a guard's dashed line."""
    values = [value for _, points in lines for _, value in points]
    if not values:
        return f"<figure><figcaption>{escape(title)}</figcaption><svg viewBox='0 0 {WIDTH} {HEIGHT}'></svg></figure>"
    bounds = [*values, *([limit] if limit is not None else [])]
    low, high = min(bounds), max(bounds)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    last = max(step for _, points in lines for step, _ in points) or 1

    def y(value: float) -> float:
        return round(HEIGHT * (high - value) / (high - low), 1)

    drawn = "".join(_line([(WIDTH * step / last, y(value)) for step, value in points]) for _, points in lines)
    guard = ""
    if limit is not None:
        guard = f"<line class='em-guard' x1='0' x2='{WIDTH}' y1='{y(limit)}' y2='{y(limit)}'/>"
    now = f"<b>{values[-1]:.4g}</b>"
    return (
        f"<figure><figcaption>{escape(title)} {now}</figcaption>"
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none'>{guard}{drawn}</svg></figure>"
    )
