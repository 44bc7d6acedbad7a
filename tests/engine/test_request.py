"""A request is checked where it is made: every bad value is one sentence that names its field."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.contract.errors import UserError
from engine.contract.request import FILE_FIELDS, INPUT_FIELDS, SEED_LIMIT, GenerationRequest, build_request, flatten
from engine.contract.settings import Settings
from engine.contract.variants import NANO, name_of

GOOD = {"image": "face.png", "audio": "voice.wav", "out": "out.mp4"}


def test_a_request_starts_from_the_models_own_settings():
    request = build_request(GOOD)
    assert request.settings == NANO.default_settings
    assert (request.task, request.model, request.prompt) == ("talking-head", "nano", "")


@pytest.mark.parametrize("given", [{}, {"seed": None}, {"seed": ""}, {"seed": "random"}])
def test_a_seed_nobody_chose_is_drawn_anew_for_every_request(given):
    seeds = {build_request(GOOD | given).seed for _ in range(8)}
    assert len(seeds) == 8 and all(0 <= seed < SEED_LIMIT for seed in seeds)


def test_a_drawn_seed_stays_what_it_was():
    request = build_request(GOOD)
    assert GenerationRequest.model_validate_json(request.model_dump_json()).seed == request.seed
    assert request.model_copy(update={"prompt": "happy"}).seed == request.seed


def test_overrides_beat_the_settings_given_and_those_beat_the_defaults():
    values = GOOD | {"settings": {"guidance": {"audio": 3, "text": 4}}}
    settings = build_request(values, {"guidance.audio": "2.5"}).settings
    assert (settings.guidance.audio, settings.guidance.text) == (2.5, 4.0)
    assert settings.sampling == NANO.default_settings.sampling


def test_a_request_survives_its_own_json():
    request = build_request(GOOD | {"prompt": "a calm face", "seed": 7}, {"phda.audio.low": 100})
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("values", "overrides", "field", "words"),
    [
        ({}, {"sampling.steps": 0}, "sampling.steps", "greater than or equal to 1"),
        ({}, {"sampling.steps": "many"}, "sampling.steps", "integer"),
        ({}, {"sampling.steps": 2.5}, "sampling.steps", "integer"),
        ({}, {"sampling.solver": "heun"}, "sampling.solver", "euler"),
        ({}, {"guidance.audio": -1}, "guidance.audio", "greater"),
        ({}, {"guidance.audio": float("nan")}, "guidance.audio", "finite"),
        ({}, {"guidance.audio": "inf"}, "guidance.audio", "finite"),
        ({}, {"guidance.loudness": 1}, "guidance.loudness", "Unknown setting"),
        ({}, {"guidance": 1}, "guidance", "guidance.audio"),
        ({}, {"phda.audio.low": 900, "phda.audio.high": 100}, "phda.audio", "swap"),
        ({}, {"phda.audio.high": 1001}, "phda.audio.high", "1000"),
        ({}, {"phda.enabled": "perhaps"}, "phda.enabled", "boolean"),
        ({}, {"negative_prompt": "x" * 2001}, "negative_prompt", "2000"),
        ({"model": "huge"}, {}, "model", "choose nano"),
        ({"task": "sing"}, {}, "task", "talking-head"),
        ({"seed": -1}, {}, "seed", "greater"),
        ({"out": "out.avi"}, {}, "out", ".mp4"),
        ({"image": None}, {}, "image", "needs --image"),
        ({"image": 5}, {}, "image", "path"),
        ({"last_image": "b.png"}, {}, "last_image", "does not read"),
        ({"task": "first-last-frame"}, {}, "last_image", "needs --last-image"),
        ({"task": "lip-sync", "video": "a.mp4"}, {}, "video", "one of the two"),
        ({"task": "text-to-video"}, {}, "task", "preview or flash"),
        ({"model": "preview", "task": "text-to-video", "image": None}, {}, "prompt", "needs --prompt"),
        ({"lip_box": "0,0,1,1"}, {}, "lip_box", "does not read"),
        ({"face_box": "0.5,0,0.4,1"}, {}, "face_box", "left < right"),
        ({"face_box": "0.1,0,1.4,1"}, {}, "face_box.2", "less than or equal to 1"),
        ({"lora": "style.safetensors"}, {}, "lora", "no LoRA"),
        ({"settings_by_step": ({},)}, {}, None, "settings_by_step"),
        ({"image": "a\0b"}, {}, "image", "null"),
        ({"image": "caf\udce9.png"}, {}, "image", "UTF-8"),
        ({"prompt": "caf\udce9"}, {}, "prompt", "unicode"),
        ({"colour": "red"}, {}, "colour", "not permitted"),
        ({"settings": {"sampling": 5}}, {}, "sampling", "group"),
        ({"settings": {"phda": {"audio": None}}}, {}, "phda.audio", "phda.audio.low"),
        ({"settings": {"audio_scale": {"low": 1}}}, {}, "audio_scale.low", "Unknown setting"),
    ],
)
def test_a_bad_value_is_refused_beside_its_field(values: dict, overrides: dict, field: str | None, words: str):
    with pytest.raises(UserError) as caught:
        build_request(GOOD | values, overrides)
    assert caught.value.field == field
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_file_name_is_named():
    with pytest.raises(UserError, match="audio") as caught:
        build_request({"image": "face.png", "out": "out.mp4"})
    assert caught.value.field == "audio"


def test_a_folder_with_a_model_is_a_model(tmp_path: Path):
    (tmp_path / "nano.json").write_text("{}")
    assert build_request(GOOD | {"model": str(tmp_path)}).model == str(tmp_path)


def test_flattening_names_every_setting():
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
    assert "phda.audio.high" in flatten(Settings().model_dump())


@pytest.mark.parametrize(
    ("model", "name"),
    [("nano", "nano"), ("runs/ada/model", "ada"), ("/models/mine", "mine"), ("model", "model"), ("/model", "model")],
)
def test_a_model_is_called_by_its_name_or_its_folders(model, name):
    assert name_of(model) == name


def test_every_field_that_names_a_file_is_known_by_its_annotation():
    named = {name for name, field in GenerationRequest.model_fields.items() if "Path" in str(field.annotation)}
    assert {*FILE_FIELDS} == named >= {"image", "video", "audio", "lora", "redo_latents"}
    assert {*FILE_FIELDS} - {*INPUT_FIELDS} == {"out"}


@pytest.mark.parametrize("name", FILE_FIELDS)
@pytest.mark.parametrize("path", ["a\0.mp4", "\udc80.mp4"])
def test_no_file_name_is_one_that_a_record_cannot_keep(name, path):
    values = {"audio": Path("v.wav"), "out": Path("o.mp4")} | {name: Path(path)}
    with pytest.raises(ValidationError, match=r"null character|UTF-8"):
        GenerationRequest.model_validate(values)
