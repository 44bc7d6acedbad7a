"""Our transformer against the released code's outputs, from its original weights."""

import pytest
import torch
from safetensors.torch import load_file

from engine.model.checkpoints import load_transformer
from engine.model.condition_cache import ConditionCache

LIMIT = 1e-4


@pytest.fixture
def velocity(folder, sizes):
    """The transformer on a case; with `keep`, every condition kept, and read from the cache at a second run."""

    def run(variant, case, keep=False):
        transformer = load_transformer(folder / f"{variant}_weights.safetensors", variant, **sizes(variant))
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


@pytest.mark.parametrize("keep", [False, True], ids=["plain", "kept conditions"])
def test_preview_transformer_reproduces_the_release(preview_case, velocity, agrees, keep):
    case = load_file(preview_case)
    agrees(velocity("preview", case, keep), case["output"], LIMIT)


@pytest.mark.parametrize("keep", [False, True], ids=["plain", "kept conditions"])
def test_flash_transformer_reproduces_the_release(flash_case, velocity, agrees, keep):
    case = load_file(flash_case)
    agrees(velocity("flash", case, keep), case["output"], LIMIT)


@pytest.mark.parametrize("ignored", ["audio", "face_mask", "clip", "timestep", "text"])
def test_the_parity_case_would_notice_an_ignored_input(folder, velocity, ignored):
    case = load_file(min(folder.glob("preview_case*.safetensors")))
    changed = case | {ignored: torch.zeros_like(case[ignored])}
    assert (velocity("preview", changed) - case["output"]).abs().max() > 10 * LIMIT
