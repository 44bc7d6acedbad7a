"""LoRA in training: nothing changes until it is trained, and a merged state is the model with its LoRA on."""

import torch
from safetensors.torch import save_file

from engine.nano.model import NanoModel
from engine.wan.lora import load_lora
from tests.tiny_nano import DESCRIPTION, tiny_nano
from trainer.loop.lora import add_lora, lora_only, merged


def forward(model: NanoModel) -> torch.Tensor:
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        return model.transformer(
            torch.randn(1, 36, 3, 8, 8, generator=noise),
            torch.tensor([500.0]),
            torch.randn(1, 8, 8, generator=noise),
            torch.randn(1, 16, 8, generator=noise),
            encoder_hidden_states_audio=torch.randn(1, 9, 5, 1, 8, generator=noise),
        ).sample


def test_lora_begins_as_nothing_and_merges_to_what_it_became(tmp_path):
    model, before = tiny_nano(), forward(tiny_nano())
    add_lora(model.transformer, 2)
    assert torch.equal(forward(model), before)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained and all(".lora_" in name for name in trained)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_B." in name:
                weight.normal_(std=0.3)
    after = forward(model)
    assert not torch.allclose(after, before, atol=1e-3)

    plain = NanoModel(DESCRIPTION).eval()
    plain.load_state_dict(merged(model.state_dict()))
    torch.testing.assert_close(forward(plain), after, atol=1e-5, rtol=1e-4)

    path = tmp_path / "lora.safetensors"
    save_file(lora_only(model.transformer.state_dict()), path)
    worn = tiny_nano()
    load_lora(worn.transformer, path, 1.0)
    torch.testing.assert_close(forward(worn), after, atol=1e-5, rtol=1e-4)
    assert set(merged(tiny_nano().state_dict())) == set(tiny_nano().state_dict())
