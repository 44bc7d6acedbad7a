"""One generation as asked for: the form, the command line, the API and the record all carry this model.

Torch-free. It checks what can be checked without opening a file; the files are checked by `engine.media`.
"""

import secrets
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from engine.contract.errors import UserError
from engine.contract.motion_edit import MotionEdit
from engine.contract.presets import preset_settings
from engine.contract.settings import LiveSettings, Settings
from engine.contract.variants import MEDIA_TITLES, TASK_INFO, TASKS, VARIANTS, Task, Variant, find_variant

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]

Box = tuple[Fraction, Fraction, Fraction, Fraction]

SEED_LIMIT = 2**31
UNCHOSEN_SEEDS = (None, "", "random")
"""What asks for a seed to be drawn, as leaving it out does."""

Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


def _is_a_file_name(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a file name cannot hold a null character")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError("a file name must be UTF-8, or the record cannot keep it; rename the file") from None
    return path


FileName = Annotated[Path, AfterValidator(_is_a_file_name)]


def _holds_a_file(annotation: Any) -> bool:
    return annotation is Path or any(_holds_a_file(part) for part in get_args(annotation))


def new_seed() -> int:
    """A seed nobody chose."""
    return secrets.randbelow(SEED_LIMIT)


class GenerationRequest(BaseModel):
    """A task, its media, the model and every setting. The paths are of the user's own files.

    A request with `settings_by_step` replays a job whose settings were changed while it ran.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task = Field(default="talking-head", title="Task", description=f"One of {', '.join(TASKS)}")
    image: FileName | None = Field(default=None, title="Portrait", description="The picture that will speak.")
    last_image: FileName | None = Field(default=None, title="Last picture", description="What the video ends on.")
    video: FileName | None = Field(
        default=None, title="Film", description="The film whose lips will move to the voice."
    )
    audio: FileName = Field(title="Voice", description="The sound to speak: an audio file, or a video with sound.")
    prompt: str = Field(default="", max_length=2000, title="Prompt", description="Mood and head motion, in words.")
    model: str = Field(default="nano", title="Model", description=f"{', '.join(VARIANTS)}, or a folder with a model")
    seed: int = Field(
        default_factory=new_seed,
        ge=0,
        lt=SEED_LIMIT,
        title="Seed",
        description="The same seed gives the same video; left out, one is drawn and kept in the record.",
    )
    face_box: Box | None = Field(
        default=None, title="Face", description="Left, top, right, bottom as fractions; found if not given."
    )
    lip_box: Box | None = Field(
        default=None, title="Lower face", description="For lip sync, fractions of the first frame; found if not given."
    )
    lora: FileName | None = Field(default=None, title="LoRA", description="A safetensors file of a LoRA for the model.")
    redo_latents: FileName | None = Field(
        default=None,
        title="Latents to redo",
        description="The kept latents of a clip: a stretch of it is made anew, or without one it is only drawn again.",
    )
    redo_span_s: tuple[Seconds, Seconds] | None = Field(
        default=None, title="Stretch to redo", description="From and to, in seconds; the rest of the clip stays."
    )
    motion: MotionEdit = Field(
        default=MotionEdit(), title="Motion edit", description="How much of nano's motion is drawn."
    )
    settings: Settings = Settings()
    settings_by_step: tuple[LiveSettings, ...] = Field(default=(), title="Settings of every step")
    out: FileName = Field(title="Output file", description="The mp4 to write.")

    @field_validator("seed", mode="before")
    @classmethod
    def _draws_one(cls, seed: Any) -> Any:
        return new_seed() if seed in UNCHOSEN_SEEDS else seed

    @field_validator("face_box", "lip_box", "redo_span_s", mode="before")
    @classmethod
    def _reads_numbers(cls, box: Any) -> Any:
        return box.split(",") if isinstance(box, str) else box

    @field_validator("face_box", "lip_box")
    @classmethod
    def _has_an_inside(cls, box: Box | None) -> Box | None:
        if box is not None and not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError("a box is left, top, right, bottom with left < right and top < bottom")
        return box

    @field_validator("redo_span_s")
    @classmethod
    def _lasts(cls, span_s: tuple[float, float] | None) -> tuple[float, float] | None:
        if span_s is not None and not span_s[0] < span_s[1]:
            raise ValueError("a stretch is from, to in seconds, with from < to")
        return span_s

    @field_validator("out")
    @classmethod
    def _is_mp4(cls, out: Path) -> Path:
        if out.suffix.lower() != ".mp4":
            raise ValueError("the output file's name must end in .mp4")
        return out

    @property
    def only_draws(self) -> bool:
        """Whether kept latents are drawn again, and nothing is sampled."""
        return self.redo_latents is not None and self.redo_span_s is None

    @model_validator(mode="after")
    def _settles_every_step(self) -> Self:
        given, steps = len(self.settings_by_step), self.settings.sampling.steps
        if given not in {0, steps}:
            raise ValueError(f"settings_by_step holds {given} steps, sampling.steps is {steps}; give as many")
        return self


FILE_FIELDS = tuple(name for name, field in GenerationRequest.model_fields.items() if _holds_a_file(field.annotation))
"""Every field of a request that names a file."""
INPUT_FIELDS = tuple(name for name in FILE_FIELDS if name != "out")
"""Those whose files are read: they are hashed into the record, kept with a job, and never overwritten."""


def build_settings(
    variant: Variant,
    given: dict[str, Any],
    *,
    guidance_preset: str | None = None,
    speed_preset: str | None = None,
) -> Settings:
    """The model's own defaults, then the presets, then `given` by dotted name.

    Raises UserError that names the field for a bad value, an unknown setting and one that the model does not use.
    """
    try:
        return Settings.model_validate(_settings(variant, given, guidance_preset, speed_preset))
    except ValidationError as error:
        raise _first_error(error) from error


def _settings(
    variant: Variant, given: dict[str, Any], guidance_preset: str | None, speed_preset: str | None
) -> dict[str, Any]:
    """The same, its values not checked yet."""
    settings = variant.default_settings.model_dump()
    asked = str(given.get("sampling.steps", ""))
    steps = int(asked) if asked.isdecimal() else None
    for name, value in preset_settings(variant, guidance_preset, speed_preset, steps).items():
        _put(settings, name, value)
    for name, value in given.items():
        _refuse_inert(name, value, variant.inert_settings, variant.name)
        _put(settings, name, value)
    return settings


def build_request(
    values: dict[str, Any],
    overrides: dict[str, Any] | None = None,
    *,
    guidance_preset: str | None = None,
    speed_preset: str | None = None,
) -> GenerationRequest:
    """Check `values` (request fields) and `overrides` (settings by dotted name) and build the request.

    Settings start from the chosen model's own defaults; the presets come next (`engine.contract.presets`), then
    `values["settings"]`, a nested mapping, and `overrides` last. Raises UserError that names the field for the first
    bad value, an unknown setting, a setting that the model does not use, a task that it cannot do, and media that the
    task needs and lacks, or does not read.
    """
    values = dict(values)
    variant = find_variant(str(values.get("model", "nano")))
    given = flatten(values.pop("settings", {})) | (overrides or {})
    settings = _settings(variant, given, guidance_preset, speed_preset)
    try:
        request = GenerationRequest.model_validate(values | {"settings": settings})
    except ValidationError as error:
        raise _first_error(error) from error
    if request.task not in variant.tasks:
        able = [other.name for other in VARIANTS.values() if request.task in other.tasks]
        raise UserError(
            f"{variant.title} cannot do {request.task}; it does {', '.join(variant.tasks)}. "
            f"{request.task} needs the model {' or '.join(able)}.",
            "task",
        )
    if not request.motion.changes_nothing and not (variant.is_nano and request.task != "lip-sync"):
        whose = "lip-sync" if variant.is_nano else f"the model {variant.name}"
        raise UserError(
            f"The motion of {whose} cannot be edited, only that of nano's pictures: leave it out.", "motion"
        )
    if request.lora is not None and variant.is_nano:
        raise UserError(f"{variant.title} takes no LoRA; leave --lora out or choose a released model.", "lora")
    _check_media(request)
    return request


def _check_media(request: GenerationRequest) -> None:
    """Everything that the task reads is there, and nothing that it would pass over in silence."""
    info = TASK_INFO[request.task]
    for name in info.needs:
        if not getattr(request, name):
            raise UserError(f"{request.task} needs {_flag(name)}: {_description(name)}", name)
    if info.one_of and sum(getattr(request, name) is not None for name in info.one_of) != 1:
        choice = " or a ".join(f"{MEDIA_TITLES[name]} ({_flag(name)})" for name in info.one_of)
        raise UserError(f"{request.task} needs a {choice}, one of the two and not both.", info.one_of[0])
    for name in ("image", "last_image", "video"):
        if getattr(request, name) is not None and name not in info.media:
            raise UserError(f"{request.task} does not read {_flag(name)}; leave it out.", name)
    if request.redo_span_s is not None and request.redo_latents is None:
        raise UserError(
            "A stretch is made anew from --redo-latents and --redo-span-s: --redo-latents is missing.", "redo_latents"
        )
    if request.lip_box is not None and request.task != "lip-sync":
        raise UserError(f"{request.task} does not read {_flag('lip_box')}; leave it out.", "lip_box")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _description(name: str) -> str:
    description = GenerationRequest.model_fields[name].description
    return (description or name)[:1].lower() + (description or name)[1:]


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
