"""One generation as asked for: the form, the command line, the API and the record all carry this model.

Torch-free. It checks what can be checked without opening a file; the files are checked by `engine.media`.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.errors import UserError
from engine.settings import Settings
from engine.variants import TASKS, VARIANTS, Task, find_variant


class GenerationRequest(BaseModel):
    """A task, its media, the model and every setting. `image` and `audio` are paths of the user's own files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task = Field(default="talking-head", title="Task", description=f"One of {', '.join(TASKS)}")
    image: Path = Field(title="Portrait", description="The picture that will speak.")
    audio: Path = Field(title="Voice", description="The sound to speak: an audio file, or a video with sound.")
    prompt: str = Field(default="", max_length=2000, title="Prompt", description="Mood and head motion, in words.")
    model: str = Field(default="nano", title="Model", description=f"{', '.join(VARIANTS)}, or a folder with a model")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, title="Seed", description="The same seed gives the same video.")
    settings: Settings = Settings()
    out: Path = Field(title="Output file", description="The mp4 to write.")

    @field_validator("image", "audio", "out")
    @classmethod
    def _is_a_file_name(cls, path: Path) -> Path:
        if "\0" in str(path):
            raise ValueError("a file name cannot hold a null character")
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ValueError("a file name must be UTF-8, or the record cannot keep it; rename the file") from None
        return path

    @field_validator("out")
    @classmethod
    def _is_mp4(cls, out: Path) -> Path:
        if out.suffix.lower() != ".mp4":
            raise ValueError("the output file's name must end in .mp4")
        return out


def build_request(values: dict[str, Any], overrides: dict[str, Any] | None = None) -> GenerationRequest:
    """Check `values` (request fields) and `overrides` (settings by dotted name) and build the request.

    Settings start from the chosen model's own defaults; `values["settings"]`, a nested mapping, comes next and
    `overrides` last. Raises UserError that names the field for the first bad value, an unknown setting, a setting
    that the model does not use, and a task that it cannot do.
    """
    values = dict(values)
    variant = find_variant(str(values.get("model", "nano")))
    settings = variant.default_settings.model_dump()
    given = flatten(values.pop("settings", {})) | (overrides or {})
    for name, value in given.items():
        _refuse_inert(name, value, variant.inert_settings, variant.name)
        _put(settings, name, value)
    try:
        request = GenerationRequest.model_validate(values | {"settings": settings})
    except ValidationError as error:
        raise _first_error(error) from error
    if request.task not in variant.tasks:
        raise UserError(f"{variant.title} cannot do {request.task}; it does {', '.join(variant.tasks)}.", "task")
    return request


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"guidance": {"audio": 2}}` as `{"guidance.audio": 2}`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _put(settings: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    section: Any = settings
    for key in path:
        section = section.get(key) if isinstance(section, dict) else None
    if isinstance(section, dict) and isinstance(section.get(last), dict):
        inside = ", ".join(f"{name}.{key}" for key in flatten(section[last]))
        raise UserError(f"{name} is a group of settings ({inside}), got {str(value)[:60]!r}: set one of them.", name)
    if not isinstance(section, dict) or last not in section:
        raise UserError(f"Unknown setting {name!r}: settings are {', '.join(flatten(Settings().model_dump()))}.", name)
    section[last] = value


def _refuse_inert(name: str, value: Any, inert: frozenset[str], model: str) -> None:
    if name in inert:
        raise UserError(f"{name} = {value} does nothing with the model {model}: leave it out.", name)


def _first_error(error: ValidationError) -> UserError:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    name = ".".join(location[1:] if location[:1] == ["settings"] else location) or None
    value = first.get("input")
    shown = "" if first["type"] == "missing" or isinstance(value, dict | BaseModel) else f", got {str(value)[:60]!r}"
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return UserError(f"{name or 'request'}: {reason}{shown}.", name)
