"""Every setting of the model is in the form and in the API, with its own range and default."""

from dataclasses import replace

import gradio as gr
import pytest
from pydantic import ValidationError

from engine.contract.request import flatten
from engine.contract.settings import Settings
from engine.contract.variants import NANO, Variant
from studio.fields import GENERAL, SettingField, all_fields, draw_settings, make_component, sections, setting_fields


def test_every_setting_has_a_field_that_starts_at_the_variants_default():
    expected = flatten(NANO.default_settings.model_dump())
    fields = {field.name: field.default for field in setting_fields(NANO)}
    assert fields == {name: value for name, value in expected.items() if name not in NANO.inert_settings}


def test_a_setting_that_does_nothing_is_left_out():
    quiet: Variant = replace(NANO, inert_settings=frozenset({"sampling.solver", "phda.text.low"}))
    names = {field.name for field in setting_fields(quiet)}
    everything = set(flatten(Settings().model_dump()))
    assert everything - names == {"sampling.solver", "phda.text.low"}


def test_api_names_are_distinct_identifiers():
    parameters = [field.parameter for field in setting_fields(NANO)]
    assert len(set(parameters)) == len(parameters)
    assert all(name.isidentifier() for name in parameters)
    assert not {"image", "audio", "prompt", "seed", "request", "owner", "random_seed", "task"} & set(parameters)


def test_every_field_is_drawn_under_a_title_with_a_line_for_its_error():
    with gr.Blocks():
        form = draw_settings(NANO)
    assert set(form.inputs) == set(form.fields) == set(form.errors) == {field.name for field in all_fields(NANO)}
    assert all(component.label for component in form.inputs.values())
    assert all(form.inputs[name].value == field.default for name, field in form.fields.items())
    hidden = {name for name, column in form.columns.items() if not column.visible}
    assert hidden == NANO.inert_settings


def test_general_settings_come_first_and_every_section_is_named():
    titles = list(sections(setting_fields(NANO)))
    assert titles[0] == GENERAL
    assert {"Sampling", "Guidance", "PhDA"} <= set(titles)


RANGES = [field for field in setting_fields(NANO) if field.maximum is not None]


@pytest.mark.parametrize("field", RANGES, ids=lambda field: field.name)
def test_a_sliders_ends_are_the_models_limits(field: SettingField):
    component = make_component(field)
    assert isinstance(component, gr.Slider)
    for value, allowed in (
        (component.minimum, True),
        (component.maximum, True),
        (component.minimum - 1, False),
        (component.maximum + 1, False),
    ):
        assert accepts(field.name, value) is allowed


def accepts(name: str, value: float) -> bool:
    section: object = Settings()
    *path, key = name.split(".")
    for part in path:
        section = getattr(section, part)
    # A pair of breakpoints has to be in order; both are set, so that only the range decides.
    values = dict.fromkeys(("low", "high"), value) if key in ("low", "high") else {key: value}
    try:
        type(section)(**values)
    except ValidationError:
        return False
    return True


def test_each_kind_of_setting_gets_its_input():
    kinds = {field.name: type(make_component(field)) for field in setting_fields(NANO)}
    assert kinds["sampling.solver"] is gr.Dropdown
    assert kinds["sampling.steps"] is gr.Slider
    assert kinds["guidance.dynamic"] is gr.Checkbox
    assert kinds["negative_prompt"] is gr.Textbox
