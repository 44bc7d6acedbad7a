"""Named rows of settings: guidance presets say how strongly to steer, speed presets how much to compute.

Torch-free. The two are apart: a guidance preset sets scales, phases and negative guidance; a speed preset sets steps,
the guidance window and the step cache. What a variant does not use is left out of its row.
"""

from typing import Any

from engine.errors import UserError
from engine.variants import Variant

GUIDANCE_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "guidance.text": 3.0,
        "guidance.audio": 9.0,
        "png.mode": "phase",
        "phda.enabled": True,
        "long_video.mode": "paper",
    },
    "reference": {
        "guidance.text": 4.5,
        "guidance.audio": 2.5,
        "guidance.dynamic": True,
        "png.mode": "reference",
        "phda.enabled": False,
        "long_video.mode": "off",
    },
    "released": {
        "guidance.text": 4.5,
        "guidance.audio": 2.5,
        "guidance.dynamic": False,
        "png.mode": "phase",
        "phda.enabled": False,
        "long_video.mode": "all",
    },
}
"""paper: the printed values; reference: the public code's behaviour, its compounding negative embeddings included;
released: what suits the published weights."""

SPEED_PRESETS: dict[str, dict[str, Any]] = {
    "exact": {"cache.kind": "off", "guidance.early_share": 1.0},
}
"""How much is computed, from all of it to a sketch."""


def preset_settings(variant: Variant, guidance: str | None, speed: str | None) -> dict[str, Any]:
    """Settings by dotted name that the named presets give, without those that `variant` does not use.

    Raises UserError for a preset that does not exist.
    """
    chosen: dict[str, Any] = {}
    for name, presets, field in (
        (guidance, GUIDANCE_PRESETS, "guidance-preset"),
        (speed, SPEED_PRESETS, "speed"),
    ):
        if name is None:
            continue
        if name not in presets:
            raise UserError(f"There is no preset {name!r}: choose {', '.join(presets)}.", field)
        chosen |= presets[name]
    return {name: value for name, value in chosen.items() if name not in variant.inert_settings}
