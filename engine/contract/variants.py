"""The models and tasks one can choose, as data: what each needs, can do, and ignores.

Torch-free. A variant is a description; `engine.session` turns it into a loaded model.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from platformdirs import user_data_path

from engine.contract.errors import UserError
from engine.contract.places import ASSETS
from engine.contract.settings import GuidanceSettings, PhaseNegativeSettings, SamplingSettings, Settings

Task = Literal["talking-head", "half-body", "lip-sync", "first-last-frame", "text-to-video"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True)
class TaskInfo:
    """What a task is made from: request fields that it needs, and one of which it needs at least one."""

    title: str
    description: str
    needs: tuple[str, ...]
    one_of: tuple[str, ...] = ()

    @property
    def media(self) -> tuple[str, ...]:
        """Every request field of media that this task reads."""
        return tuple(name for name in (*self.needs, *self.one_of) if name != "prompt")


TASK_INFO: dict[Task, TaskInfo] = {
    "talking-head": TaskInfo("Talking head", "A portrait speaks.", ("image", "audio")),
    "half-body": TaskInfo("Half body", "A picture down to the waist speaks and moves.", ("image", "audio")),
    "lip-sync": TaskInfo("Lip sync", "A film, or a still, gets new lips for a voice.", ("audio",), ("video", "image")),
    "first-last-frame": TaskInfo(
        "First and last frame", "Speaks from one picture to another.", ("image", "last_image", "audio")
    ),
    "text-to-video": TaskInfo("Text to video", "A speaker out of words alone.", ("prompt", "audio")),
}

MEDIA_TITLES = {"image": "picture", "last_image": "last picture", "video": "film", "audio": "voice", "prompt": "prompt"}
"""What people call the inputs of a request."""

FPS = 25
"""Frames per second of everything that is generated."""

NANO_FOLDER = ASSETS / "nano"

NANO_DESCRIPTION = "nano.json"
"""The file that makes a folder a nano model."""

MODELS_VARIABLE = "ECHOMIMIC_MODELS"
"""The environment variable that names the folder of downloaded models."""

TRANSFORMER_WEIGHTS = Path("transformer", "diffusion_pytorch_model.safetensors")
"""Of nano and of the released models, in their folder."""

SPEECH_ENCODERS = {"preview": "wav2vec2-base-960h", "flash": "chinese-wav2vec2-base"}
"""The folder of a released model's speech encoder, which also tells the two apart."""


def models_folder() -> Path:
    """Where downloaded models are kept."""
    return Path(os.environ.get(MODELS_VARIABLE) or user_data_path("echomimic-studio", appauthor=False) / "models")


@dataclass(frozen=True)
class Variant:
    """One model: its folder, the tasks it can do, where its settings start and which of them do nothing."""

    name: Literal["nano", "preview", "flash"]
    title: str
    folder: Path
    tasks: tuple[Task, ...]
    max_audio_s: float
    default_settings: Settings = field(default_factory=Settings)
    inert_settings: frozenset[str] = frozenset()
    """Dotted names of settings that this model does not use; refused as flags, hidden in the form."""

    @property
    def is_nano(self) -> bool:
        """Whether it moves a picture (nano), or generates pixels (the released models)."""
        return self.name == "nano"

    @property
    def is_installed(self) -> bool:
        """Whether the file that the model begins with is where it should be."""
        return (self.folder / (NANO_DESCRIPTION if self.is_nano else TRANSFORMER_WEIGHTS)).is_file()


NANO = Variant(
    name="nano",
    title="Nano (bundled, runs on any CPU)",
    folder=NANO_FOLDER,
    tasks=("talking-head", "half-body", "lip-sync", "first-last-frame"),
    max_audio_s=600.0,
    default_settings=Settings(
        sampling=SamplingSettings(steps=8, solver="unipc", shift=3.0),
        guidance=GuidanceSettings(text=1.5, audio=3.0),
        png=PhaseNegativeSettings(mode="off"),
    ),
    inert_settings=frozenset({"sampling.size_px", "runtime.memory", "runtime.precision", "lora_scale"}),
)

PREVIEW = Variant(
    name="preview",
    title="EchoMimicV3 preview (1.3B, 12 GB GPU)",
    folder=models_folder() / "preview",
    tasks=TASKS,
    max_audio_s=600.0,
    default_settings=Settings(
        sampling=SamplingSettings(steps=20, solver="unipc", shift=5.0),
        guidance=GuidanceSettings(text=4.5, audio=2.5),
    ).model_copy(update={"phda": Settings().phda.model_copy(update={"enabled": False})}),
)

FLASH = Variant(
    name="flash",
    title="EchoMimicV3 flash (1.3B, 8 steps)",
    folder=models_folder() / "flash",
    tasks=TASKS,
    max_audio_s=600.0,
    default_settings=Settings(
        sampling=SamplingSettings(steps=8, solver="unipc", shift=5.0),
        guidance=GuidanceSettings(text=1.0, audio=2.5),
        png=PhaseNegativeSettings(mode="off"),
    ).model_copy(update={"phda": Settings().phda.model_copy(update={"enabled": False})}),
    inert_settings=frozenset(
        {
            "guidance.text",
            "guidance.late_text",
            "png.mode",
            "png.boost",
            "png.motion_share",
            "png.detail_below",
            "negative_prompt",
        }
    ),
)

TRAINED_NAME = "model"
"""Of the folder, in a training's, that gets the trained model."""

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in (NANO, PREVIEW, FLASH)}


def find_variant(model: str) -> Variant:
    """The variant named `model`, or the one whose layout the folder `model` has. Raises UserError."""
    if model in VARIANTS:
        return VARIANTS[model]
    folder = Path(model)
    for variant in VARIANTS.values():
        # os.path gives False where Path's own methods raise for a name too long.
        if os.path.exists(folder / (NANO_DESCRIPTION if variant.is_nano else SPEECH_ENCODERS[variant.name])):
            return replace(variant, title=f"{variant.name.capitalize()} from {name_of(model)}", folder=folder)
    known = ", ".join(VARIANTS)
    raise UserError(
        f"Unknown model {model!r}: choose {known}, or a folder that holds a {NANO_DESCRIPTION} or a released model.",
        "model",
    )


def name_of(model: str) -> str:
    """What the `model` of a request is called: its name, or its folder's; a trainer's RUN/model is called after RUN."""
    folder = Path(model)
    called_after = folder.parent if folder.name == TRAINED_NAME else folder
    return called_after.name or TRAINED_NAME
