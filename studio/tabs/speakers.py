"""Your own speaker: nano learns one person's motion from a video of them, and is then chosen like any other model.

Draws what `studio.speakers` reads from a training's files. For who leads the studio: others' visitors share its CPU.
"""

from html import escape
from pathlib import Path

import gradio as gr

from engine.contract.errors import UserError
from engine.contract.variants import NANO, VARIANTS, find_variant
from studio import views
from studio.review.annotators import lead_of
from studio.service import Studio
from studio.speakers import MOST_STEPS, Speaker
from studio.tabs.events import PAGE_ONLY, QUIET, Updates, error, no_error
from studio.tabs.result import JOB_LIST
from studio.visitors import owner_of
from studio.words import label, tr

POLL_EVERY_S = 1.5
STEPS = 300
STATE_WORDS = {"running": "learning", "done": "learned", "failed": "Ended before its time", "stopped": "Stopped"}


class SpeakerPanel:
    """Draws the panel where it is made. `models` is the menu in which a learned speaker appears."""

    def __init__(self, studio: Studio, models: gr.Dropdown) -> None:
        self._studio, self._models = studio, models
        offered = studio.limits.jobs is None
        with gr.Accordion(label("Your own speaker"), open=False, visible=offered, elem_id="speakers"):
            views.said(_hint)
            video = gr.File(
                label=label("A video of them talking"),
                show_label=False,
                file_types=["video"],
                height=130,
                elem_id="speaker-video",
                elem_classes="em-drop",
            )
            with gr.Row(elem_classes="em-line"):
                name = gr.Textbox(label=label("Name"), max_lines=1, min_width=130, elem_id="speaker-name")
                steps = gr.Number(
                    STEPS,
                    label=label("Steps"),
                    precision=0,
                    minimum=1,
                    maximum=MOST_STEPS,
                    min_width=90,
                    elem_id="speaker-steps",
                )
                learn = gr.Button(label("Learn"), size="sm", elem_id="speaker-learn")
            self._error = views.field_error("speaker")
            self._list = gr.HTML(apply_default_css=False, js_on_load=JOB_LIST, elem_id="speaker-list")
        self._timer = gr.Timer(POLL_EVERY_S, active=False)
        learn.click(self._learn, [video, name, steps], self.outputs, **PAGE_ONLY)
        self._list.act(self._act, None, self.outputs, **QUIET)
        self._timer.tick(self._look, None, self.outputs, **QUIET)

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """Every component that `show` changes."""
        return [self._models, self._error, self._list, self._timer]

    def show(self, owner: str) -> Updates:
        """The owner's speakers; those that are learned, in the menu of models too."""
        speakers = self._studio.speakers.of(owner)
        learning = any(speaker.state == "running" for speaker in speakers)
        updates: Updates = {self._list: speaker_list(speakers), self._timer: gr.Timer(active=learning)}
        # A menu that is open would close at every look.
        return updates if learning else updates | {self._models: gr.Dropdown(choices=models_of(self._studio, owner))}

    def _learn(self, request: gr.Request, video: str | None, name: str, steps: float | None) -> Updates:
        owner, start = owner_of(request), self._studio.variant
        try:
            lead_of(request.request)
            if not video:
                raise UserError("Choose a video of somebody talking first.", "speaker")
            model = str(start.folder) if start.is_nano else NANO.name
            self._studio.speakers.learn(owner, Path(video), name, steps=int(steps or STEPS), model=model)
        except UserError as wrong:
            return {self._error: error(wrong.message)}
        return self.show(owner) | {self._error: no_error()}

    def _look(self, request: gr.Request) -> Updates:
        return self.show(owner_of(request))

    def _act(self, request: gr.Request, event: gr.EventData) -> Updates:
        owner, speakers = owner_of(request), self._studio.speakers
        (speakers.stop if event.act == "stop" else speakers.forget)(owner, event.job)
        return self.show(owner)


def models_of(studio: Studio, owner: str | None) -> list[tuple[str, str]]:
    """Titles and names of what `owner` may choose: every model, those trained here on labels, their own speakers."""
    found = {name: find_variant(name) for name in dict.fromkeys([studio.model, *VARIANTS])}
    titles = {
        name: one.title if one.is_installed else f"{one.title} · {tr('not installed')}" for name, one in found.items()
    }
    trained = studio.trainings.used().items()
    titles |= {str(folder): tr("Nano after the training {name}", name=name) for name, folder in trained}
    learned = studio.speakers.of(owner) if owner is not None else []
    titles |= {speaker.model: tr("Nano as {name}", name=speaker.name) for speaker in learned if speaker.model}
    return [(title, name) for name, title in titles.items()]


def speaker_list(speakers: list[Speaker]) -> str:
    """Each speaker with how far it is, or what came of it."""
    rows = "".join(_row(speaker) for speaker in speakers)
    return f"<ul class='em-jobs'>{rows}</ul>" if rows else ""


def _row(speaker: Speaker) -> str:
    state = tr(STATE_WORDS[speaker.state])
    facts, act = escape(speaker.said), ("delete", tr("Delete"))
    if speaker.state == "running":
        act = ("stop", tr("Stop"))
        facts = tr("step {step} of {steps}", step=len(speaker.losses), steps=speaker.steps)
        if speaker.losses:
            first, now = (f"{loss:.3f}" for loss in (speaker.losses[0], speaker.losses[-1]))
            facts += f" · {tr('loss {now}, {first} at first', now=now, first=first)}"
    words = f"<b>{escape(speaker.name)}</b> <span class='em-state em-{speaker.state}'>{escape(state)}</span>"
    sure = f" data-sure='{escape(tr('Delete this speaker and its video?'))}'" if act[0] == "delete" else ""
    button = f"<button type='button' class='em-small' data-act='{act[0]}'{sure}>{act[1]}</button>"
    what = f"<div class='em-what'>{words}<small>{facts}</small></div>"
    return f"<li data-job='{speaker.id}'>{what}<div class='em-acts'>{button}</div></li>"


def _hint() -> str:
    words = tr(
        "Nano learns how one person moves while talking, from a video of theirs: one face, 6 seconds to 10 minutes. It "
        "takes some minutes."
    )
    return f"<p class='em-caption'>{words}</p>"
