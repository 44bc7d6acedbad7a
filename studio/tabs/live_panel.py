"""Live tuning: the curves of PhDA and of the negative prompts, bound both ways to the form's inputs.

Draws the panel and its inputs where it is made. What a drag changes goes into the inputs, what the inputs say into the
curves, both into the job that is running. Knows nothing about the other parts of the form.
"""

from html import escape
from typing import Any

import gradio as gr

from engine.contract.errors import UserError
from engine.contract.negatives import negative_words
from engine.contract.phases import at_steps, step_taus
from engine.contract.presets import GUIDANCE_PRESETS, SPEED_PRESETS
from engine.contract.request import build_settings, flatten
from engine.contract.settings import LiveSettings, Settings
from engine.contract.variants import Variant
from studio import views
from studio.fields import SettingField, SettingsForm, draw_settings
from studio.schedule import idle_notes
from studio.words import label, tr

LIVE_NAMES = frozenset(flatten(LiveSettings().model_dump()))
"""The settings that may change while a job runs, by dotted name."""
AXIS_NAMES = frozenset({"sampling.steps", "sampling.solver", "sampling.shift"})
"""What decides where the steps lie."""
CURVES = "em.curves(element, props, trigger, watch); // sends 'tune' and 'redraw'"


class LivePanel:
    """The curves, what can be chosen about them, and the live settings' inputs (`form`)."""

    def __init__(self, variant: Variant) -> None:
        with gr.Accordion(label("Live tuning"), open=False, elem_id="live-tuning") as self.accordion:
            views.said(
                lambda: f"<p class='em-caption'>{tr('Drag the handles. A running job follows at its next step.')}</p>"
            )
            self.curves = gr.HTML(
                self.value(variant.default_settings),
                html_template="<div class='em-curves'></div>",
                js_on_load=CURVES,
                apply_default_css=False,
                elem_id="curves",
            )
            self.said = views.drawn(visible=False, elem_id="live-said")
            views.said(lambda: group_words(variant), elem_id="png-groups")
            with gr.Row(elem_classes="em-line"):
                self.preview_on = gr.Checkbox(
                    label=label("Live preview"),
                    info=label("Letting a handle go shows the face at the playhead, before and now (nano)."),
                    elem_id="live-preview-on",
                )
            self.rendered = views.drawn(visible=False, elem_id="live-preview")
            with gr.Row(elem_classes="em-settings"):
                self.guidance_preset = _presets("Guidance preset", GUIDANCE_PRESETS, "guidance-preset")
                self.speed_preset = _presets("Speed preset", SPEED_PRESETS, "speed-preset")
            self.reset = gr.Button(label("Reset settings"), size="sm", elem_id="settings-reset")
            self.form: SettingsForm = draw_settings(variant, of=is_live)

    def value(self, settings: Settings) -> dict[str, Any]:
        """What the curves show: the settings, where the steps lie, the notes beside the curves."""
        return {
            "taus": step_taus(settings.sampling),
            "at_steps": at_steps(settings.sampling, settings.live),
            "phda": settings.phda.model_dump(),
            "png": settings.png.model_dump(),
            "notes": idle_notes(settings),
            "words": {key: tr(words) for key, words in CURVE_WORDS.items()},
        }


CURVE_WORDS = {
    "text": "Text",
    "image": "Picture",
    "audio": "Voice",
    "low": "low breakpoint, τ",
    "high": "high breakpoint, τ",
    "motion": "End of the motion phase",
    "detail": "Start of the detail phase, τ",
    "boost": "Boost",
    "motion_group": "Motion group, steps",
    "detail_group": "Detail group",
    "off": "off",
    "switch_on": "Switch it on",
    "weights": "PhDA weight over τ; lines are steps",
    "negatives": "Weight of the negative prompts",
}


def group_words(variant: Variant) -> str:
    """What the two groups of negative prompts say to the model."""
    words = negative_words("nano" if variant.is_nano else "released")
    titles = {"motion": tr("Motion group"), "detail": tr("Detail group")}
    return "".join(
        f"<p class='em-caption'><b>{titles[name]}:</b> {escape(text)}</p>" for name, text in words.items() if text
    )


def is_live(field: SettingField) -> bool:
    """Whether the setting may change while a job runs."""
    return field.name in LIVE_NAMES


def settings_from(variant: Variant, given: dict[str, Any], **presets: str | None) -> Settings:
    """The variant's settings with the presets, then `given` by dotted name, put in. Raises UserError."""
    return build_settings(variant, given, **presets)


def try_settings(variant: Variant, given: dict[str, Any]) -> tuple[Settings | None, UserError | None]:
    """The settings, or what is wrong with them."""
    try:
        return settings_from(variant, given), None
    except UserError as wrong:
        return None, wrong


def _presets(title: str, presets: dict[str, dict[str, Any]], elem_id: str) -> gr.Dropdown:
    choices = [(label("The model's own"), ""), *((name, name) for name in presets)]
    return gr.Dropdown(choices=choices, value="", label=label(title), elem_id=elem_id, min_width=210)
