"""The API: one endpoint for each task, typed by the settings model, which waits for the video and returns it.

The same functions are the MCP tools. A parameter that is left out is the model's own default. Paths of files are taken
only from Gradio's uploads, which its file inputs see to.
"""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from engine.contract.errors import UserError
from engine.contract.motion_edit import AMOUNTS, MOST
from engine.contract.presets import GUIDANCE_PRESETS, SPEED_PRESETS
from engine.contract.records import GenerationRecord, without_places
from engine.contract.request import GenerationRequest
from engine.contract.variants import TASK_INFO, VARIANTS, Task
from studio.fields import SettingField, all_fields, json_schema
from studio.inputs import PictureFile
from studio.job_rows import Job
from studio.service import Studio
from studio.visitors import caller_of

POLL_EVERY_S = 0.25
WORDS = {
    "motion": "Of nano's pictures, in per cent, and moments of blinks. The same seed keeps the rest.",
    "face_box": "As four numbers: left, top, right, bottom.",
    "lip_box": "As four numbers, for lip sync.",
}


MOTION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "number", "minimum": 0, "maximum": MOST} for name in AMOUNTS},
        "blink_at_s": {"type": "array", "items": {"type": "number", "minimum": 0}},
    },
}


def endpoint_name(task: Task) -> str:
    """A promise to callers: it does not change."""
    return f"generate_{task.replace('-', '_')}"


def add_endpoint(task: Task, studio: Studio) -> None:
    """An endpoint behind a button that nobody sees, named by `endpoint_name`."""
    info = TASK_INFO[task]
    fields = all_fields(studio.variant)
    inputs: dict[str, Any] = {name: _file_input(name) for name in info.media}
    inputs |= {name: Api(None, schema, name) for name, schema in _plain_schemas(studio, task).items()}
    inputs |= {field.parameter: Api(None, json_schema(field), field.parameter) for field in fields}
    needed = [name for name in info.needs if name in inputs]

    async def generate(request: gr.Request, **values: Any) -> tuple[Path, dict[str, Any]]:
        return await _generate_and_wait(studio, task, fields, caller_of(request), values)

    # Gradio reads the parameters' names and defaults off the signature.
    parameter, keyword = inspect.Parameter, inspect.Parameter.KEYWORD_ONLY
    ordered = [*needed, *(name for name in inputs if name not in needed)]
    generate.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            parameter("request", parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request),
            *(parameter(name, keyword, default=parameter.empty if name in needed else None) for name in ordered),
        ]
    )
    generate.__name__ = endpoint_name(task)  # the MCP tool's name
    gr.Button(visible=False).click(
        generate,
        inputs_kwargs={name: inputs[name] for name in ordered},
        outputs=[gr.Video(visible=False), gr.JSON(visible=False)],
        api_name=endpoint_name(task),
        api_description=_description(task),
        concurrency_limit=None,
    )


def _description(task: Task) -> str:
    info = TASK_INFO[task]
    choice = f", and {' or '.join(info.one_of)}" if info.one_of else ""
    return (
        f"{info.title}: {info.description} Needs {', '.join(info.needs)}{choice}. Makes a video; returns the mp4 and "
        "its record. The same seed and settings give the same video; a seed that is left out is drawn and told in the "
        "record. What else is left out is the model's own default."
    )


def _file_input(name: str) -> gr.components.Component:
    match name:
        case "audio":
            return gr.Audio(type="filepath", visible=False, label=name)
        case "video":
            return gr.Video(visible=False, label=name)
    return PictureFile(type="filepath", visible=False, label=name)


def _plain_schemas(studio: Studio, task: Task) -> dict[str, dict[str, Any]]:
    models = sorted({*VARIANTS, studio.model})
    box = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    boxes = ["face_box", *(["lip_box"] if task == "lip-sync" else [])]
    schema: dict[str, dict[str, Any]] = {
        "prompt": {"type": "string", "maxLength": 2000},
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        "model": {"enum": [*models], "type": "string"},
        **{name: dict(box) for name in boxes},
        **({} if task == "lip-sync" else {"motion": MOTION_SCHEMA}),
        "settings_by_step": {"type": "array", "items": {"type": "object"}},
        "guidance_preset": {"enum": [*GUIDANCE_PRESETS], "type": "string"},
        "speed_preset": {"enum": [*SPEED_PRESETS], "type": "string"},
    }
    for name, entry in schema.items():
        field = GenerationRequest.model_fields.get(name)
        described = field.description or field.title if field else None
        entry["description"] = f"{described or name.replace('_', ' ')} {WORDS.get(name, '')}".strip()
    return schema


async def _generate_and_wait(
    studio: Studio, task: Task, fields: list[SettingField], owner: str, values: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    given = {name: value for name, value in values.items() if value is not None}
    presets = {name: given.pop(name, None) for name in ("guidance_preset", "speed_preset")}
    settings = {field.name: given.pop(field.parameter) for field in fields if field.parameter in given}
    try:
        job = await asyncio.to_thread(studio.submit, owner, {"task": task, **given}, settings, presets=presets)
    except UserError as error:
        raise gr.Error(error.message) from error
    job = await _wait_for(studio, job)
    result = studio.store.result_of(job)
    if result is None or job.record is None:
        raise gr.Error(job.error or f"The job was {job.state}.")
    return result, without_places(GenerationRecord.model_validate(job.record)).model_dump(mode="json")


async def _wait_for(studio: Studio, job: Job) -> Job:
    while job.unfinished:
        await asyncio.sleep(POLL_EVERY_S)
        job = studio.store.find(job.id, job.owner) or job
    return job
