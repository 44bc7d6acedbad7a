"""Our transformer against the released code's outputs, from its original weights."""

import pytest
import torch
from safetensors.torch import load_file

from engine.contract.settings import RuntimeSettings
from engine.sampling.condition_cache import ConditionCache
from engine.wan.checkpoints import load_transformer
from engine.wan.devices import tune
from engine.wan.memory import place

LIMIT = 1e-4


@pytest.fixture
def velocity(folder, sizes):
    """The transformer on a case; with `keep`, every condition kept, and read from the cache at a second run.

    With `everything`, all that must not change the result at once: kept conditions, blocks that come to the device one
    by one, compiled blocks; audio attends to face tokens alone wherever a case has a mask, with or without it.
    """

    def run(variant, case, keep=False, everything=False):
        transformer = load_transformer(folder / f"{variant}_weights.safetensors", variant, **sizes(variant))
        if everything:
            torch._dynamo.reset()
            place(transformer, "low", torch.device("cpu"), torch.float32)
            tune(transformer, RuntimeSettings(compile=True), compiler="aot_eager")
        cache, names = ConditionCache(), range(len(case["latents"]))
        for _ in range(2 if keep else 1):
            with torch.inference_mode():
                velocity = transformer(
                    torch.cat([case["latents"], case["mask_and_masked_latents"]], dim=1),
                    case["timestep"],
                    case["text"],
                    case["clip"],
                    encoder_hidden_states_audio=case["audio"],
                    face_mask=case.get("face_mask"),
                    audio_scale=float(case.get("audio_scale", 1.0)),
                    cached=cache.rows(names, names, names) if keep else None,
                ).sample
        return velocity

    return run


HOW = pytest.mark.parametrize(
    "how",
    [{}, {"keep": True}, {"keep": True, "everything": True}],
    ids=["plain", "kept conditions", "every exact optimisation"],
)


@HOW
def test_preview_transformer_reproduces_the_release(preview_case, velocity, agrees, how):
    case = load_file(preview_case)
    agrees(velocity("preview", case, **how), case["output"], LIMIT)


@HOW
def test_flash_transformer_reproduces_the_release(flash_case, velocity, agrees, how):
    case = load_file(flash_case)
    agrees(velocity("flash", case, **how), case["output"], LIMIT)


@pytest.mark.parametrize("ignored", ["audio", "face_mask", "clip", "timestep", "text"])
def test_the_parity_case_would_notice_an_ignored_input(folder, velocity, ignored):
    case = load_file(min(folder.glob("preview_case*.safetensors")))
    changed = case | {ignored: torch.zeros_like(case[ignored])}
    assert (velocity("preview", changed) - case["output"]).abs().max() > 10 * LIMIT
