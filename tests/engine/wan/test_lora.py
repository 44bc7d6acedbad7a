"""A LoRA is W + scale * B A, in every memory mode; off again it never was; what does not fit is refused."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.contract.errors import UserError
from engine.wan.lora import load_lora, unload_lora
from engine.wan.memory import place
from tests.engine.wan.test_memory import output, tiny

RANK = 4
LAYERS = ("blocks.0.attn1.to_q", "blocks.1.attn2.to_out.0", "blocks.2.ffn.net.0.proj", "blocks.2.attn2.to_v_audio")
ORIGINAL = {
    "blocks.0.attn1.to_q": "blocks.0.self_attn.q",
    "blocks.1.attn2.to_out.0": "blocks.1.cross_attn.o",
    "blocks.2.ffn.net.0.proj": "blocks.2.ffn.0",
}


def matrices(layers=LAYERS) -> dict[str, tuple[Tensor, Tensor]]:
    random, modules = torch.Generator().manual_seed(3), dict(tiny().named_modules())
    return {
        name: (
            0.3 * torch.randn(RANK, modules[name].in_features, generator=random),
            0.3 * torch.randn(modules[name].out_features, RANK, generator=random),
        )
        for name in layers
    }


def write(path: Path, prefix: str = "", layers=LAYERS) -> Path:
    state = {}
    for name, (down, up) in matrices(layers).items():
        state |= {f"{prefix}{name}.lora_A.weight": down, f"{prefix}{name}.lora_B.weight": up}
    save_file(state, path)
    return path


def merged(scale: float, layers=LAYERS) -> Tensor:
    model = tiny()
    modules = dict(model.named_modules())
    for name, (down, up) in matrices(layers).items():
        modules[name].weight.data += scale * up @ down
    return output(model)


@pytest.mark.parametrize("prefix", ["", "transformer.", "base_model.model."])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_it_is_the_merged_weights(prefix: str, scale: float, tmp_path: Path):
    model = tiny()
    load_lora(model, write(tmp_path / "a.safetensors", prefix), scale)
    torch.testing.assert_close(output(model), merged(scale), atol=1e-4, rtol=1e-4)


def test_the_original_names_mean_the_same_and_alpha_counts(tmp_path: Path):
    state = {}
    for name, (down, up) in matrices(ORIGINAL).items():
        original = f"diffusion_model.{ORIGINAL[name]}"
        state |= {f"{original}.lora_down.weight": down, f"{original}.lora_up.weight": up}
        state |= {f"{original}.alpha": torch.tensor(RANK / 2)}
    save_file(state, tmp_path / "a.safetensors")
    model = tiny()
    load_lora(model, tmp_path / "a.safetensors", 1.0)
    torch.testing.assert_close(output(model), merged(0.5, ORIGINAL), atol=1e-4, rtol=1e-4)


def test_off_again_it_never_was(tmp_path: Path):
    model = tiny()
    before = output(model)
    load_lora(model, write(tmp_path / "a.safetensors"), 1.0)
    assert not torch.allclose(output(model), before, atol=1e-3)
    unload_lora(model)
    assert torch.equal(output(model), before)
    load_lora(model, tmp_path / "a.safetensors", 1.0)
    torch.testing.assert_close(output(model), merged(1.0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("mode", "dtype"), [("low", torch.float32), ("low", torch.bfloat16), ("quantised", torch.float32)]
)
def test_it_works_in_every_memory_mode(mode: str, dtype: torch.dtype, tmp_path: Path):
    model = tiny().to(dtype)
    place(model, mode, torch.device("cpu"), dtype)
    before = output(model, dtype)
    load_lora(model, write(tmp_path / "a.safetensors"), 1.0)
    change, expected = output(model, dtype) - before, merged(1.0) - output(tiny())
    assert float((change - expected).norm() / expected.norm()) < (0.2 if dtype == torch.bfloat16 else 0.05)
    unload_lora(model)
    assert torch.equal(output(model, dtype), before)


def refusal(path: Path) -> str:
    model = tiny()
    names = copy.deepcopy(list(model.state_dict()))
    with pytest.raises(UserError) as caught:
        load_lora(model, path, 1.0)
    assert caught.value.field == "lora" and "\n" not in caught.value.message
    assert list(model.state_dict()) == names
    return caught.value.message


def test_what_does_not_fit_is_refused_and_leaves_the_model_alone(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_file({"blocks.0.attn1.to_q.lora_A.weight": torch.ones(4, 99)}, path)
    assert "another size" in refusal(path)
    save_file({"blocks.9.attn1.to_q.lora_A.weight": torch.ones(4, 64)}, path)
    assert "no layer blocks.9.attn1.to_q" in refusal(path)
    save_file({"blocks.0.attn1.to_q.weight": torch.ones(64, 64)}, path)
    assert "not a LoRA file" in refusal(path)
    (tmp_path / "a.pt").write_bytes(b"")
    assert ".safetensors" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [None, b"", b"half of it"])
def test_a_file_that_is_damaged_or_not_there_is_the_loras(content: bytes | None, tmp_path: Path):
    if content is not None:
        (tmp_path / "a.safetensors").write_bytes(content)
    refusal(tmp_path / "a.safetensors")
