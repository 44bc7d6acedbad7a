"""The settings form, made from the pydantic settings model, so that a new setting is on the page without being drawn.

Knows nothing about what a setting does. Settings that a variant does not use are left out; the names that an API caller
uses are the dotted names with underscores (`guidance.audio` is `guidance_audio`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.variants import Variant
from studio.views import drawn, field_error

GENERAL = "General"
SECTION_TITLES = {"phda": "PhDA"}


@dataclass(frozen=True)
class SettingField:
    """One leaf of the settings model: its dotted name, where it is shown, its type, range and starting value."""

    name: str
    section: str
    title: str
    description: str | None
    kind: type
    default: Any
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None

    @property
    def parameter(self) -> str:
        """The name in a function's signature and in the API."""
        return self.name.replace(".", "_")


def setting_fields(variant: Variant) -> list[SettingField]:
    """Every setting that `variant` uses, in the model's order, with the variant's own default."""
    return [field for field in _walk(variant.default_settings) if field.name not in variant.inert_settings]


def sections(fields: list[SettingField]) -> dict[str, list[SettingField]]:
    """The fields by section, general ones first."""
    grouped: dict[str, list[SettingField]] = {GENERAL: []}
    for field in fields:
        grouped.setdefault(field.section, []).append(field)
    return {title: members for title, members in grouped.items() if members}


def make_component(field: SettingField) -> gr.components.Component:
    """The input for one setting: a switch, a menu, a slider, a number or a text."""
    common: dict[str, Any] = {"label": field.title, "info": field.description, "value": field.default}
    common["elem_id"] = f"setting-{field.parameter}"
    if field.choices:
        return gr.Dropdown(choices=list(field.choices), **common)
    if field.kind is bool:
        return gr.Checkbox(**common)
    if field.kind is str:
        return gr.Textbox(max_length=field.max_length, lines=2, **common)
    if field.minimum is not None and field.maximum is not None:
        return gr.Slider(minimum=field.minimum, maximum=field.maximum, step=_slider_step(field), buttons=[], **common)
    return gr.Number(minimum=field.minimum, maximum=field.maximum, precision=0 if field.kind is int else None, **common)


@dataclass(frozen=True)
class SettingsForm:
    """The drawn form: inputs and the lines for their errors, both by dotted name."""

    fields: list[SettingField]
    inputs: dict[str, gr.components.Component]
    errors: dict[str, gr.HTML]

    @property
    def defaults(self) -> list[Any]:
        """The variant's values, in the order of `inputs`."""
        return [field.default for field in self.fields]


def draw_settings(variant: Variant) -> SettingsForm:
    """Draw the form where the caller stands, a group for each section."""
    fields = setting_fields(variant)
    inputs: dict[str, gr.components.Component] = {}
    errors: dict[str, gr.HTML] = {}
    for title, members in sections(fields).items():
        drawn(f"<h3 class='em-section'>{title}</h3>")
        with gr.Row(elem_classes="em-settings"):
            for field in members:
                with gr.Column(min_width=210):
                    inputs[field.name] = make_component(field)
                    errors[field.name] = field_error(f"setting-{field.parameter}")
    return SettingsForm(fields, {field.name: inputs[field.name] for field in fields}, errors)


def _walk(section: BaseModel, prefix: str = "") -> Iterator[SettingField]:
    for key, info in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            yield _leaf(f"{prefix}{key}", info, value)


def _leaf(name: str, info: FieldInfo, value: Any) -> SettingField:
    *path, key = name.split(".")
    title = info.title or key.replace("_", " ")
    if len(path) > 1:  # a group inside a section has no heading of its own
        title = f"{path[-1]} {title[:1].lower()}{title[1:]}"
    bounds = {type(item): item for item in info.metadata}
    kind, choices = _plain_type(info.annotation)
    return SettingField(
        name=name,
        section=SECTION_TITLES.get(path[0], path[0].replace("_", " ").capitalize()) if path else GENERAL,
        title=title[:1].upper() + title[1:],
        description=info.description,
        kind=kind,
        default=value,
        choices=choices,
        minimum=_bound(bounds, Ge, "ge"),
        maximum=_bound(bounds, Le, "le"),
        max_length=_bound(bounds, MaxLen, "max_length"),
    )


def _bound(bounds: dict[type, Any], kind: type, attribute: str) -> Any:
    return getattr(bounds[kind], attribute) if kind in bounds else None


def _plain_type(annotation: Any) -> tuple[type, tuple[Any, ...]]:
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return type(choices[0]), choices
    if get_origin(annotation) in (Union, UnionType):
        return _plain_type(next(item for item in get_args(annotation) if item is not type(None)))
    return annotation, ()


def _slider_step(field: SettingField) -> float:
    if field.kind is int or (field.maximum or 0) - (field.minimum or 0) >= 100:
        return 1
    return 0.05 if (field.maximum or 0) <= 3 else 0.1
