"""Our transformer against the released code's outputs, from its original weights."""

import pytest
import torch
from safetensors.torch import load_file

from engine.model.checkpoints import load_transformer

LIMIT = 1e-4


@pytest.fixture
def velocity(folder, config):
    def run(variant, case):
        transformer = load_transformer(folder / f"{variant}_weights.safetensors", variant, **config(variant))
        with torch.inference_mode():
            return transformer(
                torch.cat([case["latents"], case["mask_and_masked_latents"]], dim=1),
                case["timestep"],
                case["text"],
                case["clip"],
                encoder_hidden_states_audio=case["audio"],
                face_mask=case.get("face_mask"),
                audio_scale=float(case.get("audio_scale", 1.0)),
            ).sample

    return run


def test_preview_transformer_reproduces_the_release(preview_case, velocity, agrees):
    case = load_file(preview_case)
    agrees(velocity("preview", case), case["output"], LIMIT)


def test_flash_transformer_reproduces_the_release(flash_case, velocity, agrees):
    case = load_file(flash_case)
    agrees(velocity("flash", case), case["output"], LIMIT)


@pytest.mark.parametrize("ignored", ["audio", "face_mask", "clip", "timestep", "text"])
def test_the_parity_case_would_notice_an_ignored_input(folder, velocity, ignored):
    case = load_file(min(folder.glob("preview_case*.safetensors")))
    changed = case | {ignored: torch.zeros_like(case[ignored])}
    assert (velocity("preview", changed) - case["output"]).abs().max() > 10 * LIMIT
