"""Named rows of settings: guidance presets say how strongly to steer, speed presets how much to compute.

Torch-free. The two are apart: a guidance preset sets scales, phases and negative guidance; a speed preset sets steps,
the guidance window and the step cache. What a variant does not use is left out of its row.
"""

from typing import Any

from engine.contract.errors import UserError
from engine.contract.variants import Variant

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

CACHED_STEPS = 12
"""From so many steps up a step cache is worth having; with fewer, every step changes too much."""

STEPS_SHARE = "steps_share"

SPEED_PRESETS: dict[str, dict[str, Any]] = {
    "exact": {STEPS_SHARE: 1.0, "guidance.early_share": 1.0, "cache.kind": "off"},
    "quality": {STEPS_SHARE: 1.0, "guidance.early_share": 1.0, "cache.kind": "magcache", "cache.threshold": 0.06},
    "balanced": {STEPS_SHARE: 1.0, "guidance.early_share": 0.6, "cache.kind": "magcache", "cache.threshold": 0.12},
    "fast": {STEPS_SHARE: 0.75, "guidance.early_share": 0.4, "cache.kind": "magcache", "cache.threshold": 0.12},
    "draft": {STEPS_SHARE: 0.5, "guidance.early_share": 0.2, "cache.kind": "magcache", "cache.threshold": 0.24},
}
"""How much is computed, from all of it to a sketch: steps as a share of the variant's own number, unless a number is
asked for; the share of them that is guided by all branches, behind which one is left; the step cache."""


def preset_settings(variant: Variant, guidance: str | None, speed: str | None, steps: int | None) -> dict[str, Any]:
    """Settings by dotted name that the named presets give, without those that `variant` ignores.

    `steps` are the asked ones, which stay; None leaves them to the speed preset. Raises UserError for a preset that
    does not exist.
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
    share = chosen.pop(STEPS_SHARE, None)
    if steps is None:
        steps = variant.default_settings.sampling.steps
        if share is not None:
            steps = chosen["sampling.steps"] = max(1, round(share * steps))
    if steps < CACHED_STEPS and "cache.kind" in chosen:
        chosen["cache.kind"] = "off"
    return {name: value for name, value in chosen.items() if name not in variant.inert_settings}
