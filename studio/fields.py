"""The settings form, made from the pydantic settings model, so that a new setting is on the page by itself.

Knows nothing about what a setting does. Settings that the chosen variant does not use are hidden and not sent; the
names that an API caller uses are the dotted names with underscores (`guidance.audio` is `guidance_audio`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.contract.request import flatten
from engine.contract.settings import Settings
from engine.contract.variants import Variant
from studio.views import field_error, said
from studio.words import label, tr

GENERAL = "General"
SECTION_TITLES = {"phda": "PhDA", "png": "Negative guidance", "cache": "Step cache"}


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


def all_fields(variant: Variant) -> list[SettingField]:
    """Every setting, in the model's order, with the variant's own default."""
    return list(_walk(variant.default_settings))


def setting_fields(variant: Variant) -> list[SettingField]:
    """Every setting that `variant` uses."""
    return [field for field in all_fields(variant) if field.name not in variant.inert_settings]


def json_schema(field: SettingField) -> dict[str, Any]:
    """The field's type, limits and meaning for callers of the API."""
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    schema: dict[str, Any] = {"type": kinds[field.kind], "description": field.description or field.title}
    limits = {"minimum": field.minimum, "maximum": field.maximum, "maxLength": field.max_length}
    if field.choices:
        schema["enum"] = list(field.choices)
    return schema | {name: limit for name, limit in limits.items() if limit is not None}


def sections(fields: list[SettingField]) -> dict[str, list[SettingField]]:
    """The fields by section, general ones first."""
    grouped: dict[str, list[SettingField]] = {GENERAL: []}
    for field in fields:
        grouped.setdefault(field.section, []).append(field)
    return {title: members for title, members in grouped.items() if members}


def make_component(field: SettingField) -> gr.components.Component:
    """The input for one setting: a switch, a menu, a slider, a number or a text."""
    common: dict[str, Any] = {"label": label(field.title), "info": label(field.description), "value": field.default}
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
    """The drawn form, all by dotted name: the fields, their inputs, the lines for their errors, what holds each."""

    fields: dict[str, SettingField]
    inputs: dict[str, gr.components.Component]
    errors: dict[str, gr.HTML]
    columns: dict[str, gr.Column]

    @property
    def parameters(self) -> dict[str, gr.components.Component]:
        """The inputs by the names that a function's signature uses."""
        return {field.parameter: self.inputs[name] for name, field in self.fields.items()}

    def given(self, values: dict[str, Any], variant: Variant) -> dict[str, Any]:
        """Of `values` by parameter, the settings that `variant` uses, by dotted name; None is not given."""
        names = (name for name in self.fields if name not in variant.inert_settings)
        found = {name: values.get(self.fields[name].parameter) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def show(self, settings: Settings, variant: Variant) -> dict[Any, Any]:
        """Updates that show `settings`, and of them what `variant` uses."""
        values = flatten(settings.model_dump())
        shown = {self.inputs[name]: values[name] for name in self.inputs}
        return shown | {
            self.columns[name]: gr.Column(visible=name not in variant.inert_settings) for name in self.columns
        }

    def __or__(self, other: "SettingsForm") -> "SettingsForm":
        """Both forms as one."""
        parts = ("fields", "inputs", "errors", "columns")
        return SettingsForm(**{part: getattr(self, part) | getattr(other, part) for part in parts})


def draw_settings(variant: Variant, *, of: Callable[[SettingField], bool] = lambda field: True) -> SettingsForm:
    """Draw the form of the fields that `of` picks where the caller stands, a group for each section."""
    fields = {field.name: field for field in all_fields(variant) if of(field)}
    form = SettingsForm(fields, {}, {}, {})
    for title, members in sections(list(fields.values())).items():
        said(partial(_heading, title))
        with gr.Row(elem_classes="em-settings"):
            for field in members:
                visible = field.name not in variant.inert_settings
                with gr.Column(min_width=210, visible=visible) as form.columns[field.name]:
                    form.inputs[field.name] = make_component(field)
                    form.errors[field.name] = field_error(f"setting-{field.parameter}")
    return form


def _heading(title: str) -> str:
    return f"<h3 class='em-section'>{tr(title)}</h3>"


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
