"""EchoMimic Studio in Python: a picture and a voice become a talking video.

    from echomimic import generate

    video = generate(image="face.jpg", audio="voice.wav", prompt="happy", out="talk.mp4")
    print(video.record.seed, video.record.notices)

Everything that is public stands in `__all__` and is imported when it is first asked for, so that `import echomimic` is
instant and needs no torch. What lies in `engine`, `studio` and `trainer` is private to the project.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echomimic.api import Video, generate
    from engine.contract.errors import UserError
    from engine.contract.records import GenerationRecord, NegativeRecord, read_record
    from engine.contract.request import GenerationRequest, build_request
    from engine.contract.settings import Settings
    from engine.contract.variants import VARIANTS
    from engine.session import Session

_HOMES = {
    "GenerationRecord": "engine.contract.records",
    "GenerationRequest": "engine.contract.request",
    "NegativeRecord": "engine.contract.records",
    "Session": "engine.session",
    "Settings": "engine.contract.settings",
    "UserError": "engine.contract.errors",
    "VARIANTS": "engine.contract.variants",
    "Video": "echomimic.api",
    "build_request": "engine.contract.request",
    "generate": "echomimic.api",
    "read_record": "engine.contract.records",
}

__all__ = [
    "VARIANTS",
    "GenerationRecord",
    "GenerationRequest",
    "NegativeRecord",
    "Session",
    "Settings",
    "UserError",
    "Video",
    "build_request",
    "generate",
    "read_record",
]


def __getattr__(name: str) -> Any:
    """The public name `name`, from its home."""
    if name not in _HOMES:
        raise AttributeError(f"echomimic has no public name {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
