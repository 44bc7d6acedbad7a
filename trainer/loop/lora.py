"""LoRA in training: small matrices beside a transformer's frozen ones (peft), and both made one again.

Knows nothing about what is trained. The scale is always 1 (alpha = rank), so that a file needs no number beside it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn

ADAPTER = "trained"
TARGETS = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "add_k_proj",
    "add_v_proj",
    "to_k_audio",
    "to_v_audio",
    "ffn.net.0.proj",
    "ffn.net.2",
)
_BASE, _DOWN, _UP = ".base_layer.", f".lora_A.{ADAPTER}.weight", f".lora_B.{ADAPTER}.weight"


def add_lora(transformer: Any, rank: int) -> None:
    """Freeze `transformer` and give its blocks' matrices LoRA of `rank`, which changes nothing yet."""
    transformer.requires_grad_(False)
    # Processes that share a training, and runs of one seed, must begin alike.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)), adapter_name=ADAPTER)


class WithoutLora(nn.Module):
    """The forward of `velocity` as it was before LoRA was added to `transformer`, which is in it: a frozen reference
    that takes no memory."""

    def __init__(self, velocity: nn.Module, transformer: Any) -> None:
        super().__init__()
        # In a list, so that they are not this module's own.
        self._whole = [velocity, transformer]

    def forward(self, *inputs: Tensor, **conditions: Tensor) -> Tensor:
        """The velocity, by the frozen weights alone."""
        velocity, transformer = self._whole
        transformer.disable_adapters()
        try:
            predicted: Tensor = velocity(*inputs, **conditions)
        finally:
            transformer.enable_adapters()
        return predicted


def merged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state with LoRA in it as one without, W + B·A under W's own name; any other as it is."""
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith((_DOWN, _UP)):
            continue
        prefix, base, kind = name.partition(_BASE)
        if not base:
            plain[name] = tensor
        elif kind == "weight":
            plain[f"{prefix}.{kind}"] = tensor + (state[prefix + _UP] @ state[prefix + _DOWN]).to(tensor)
        else:
            plain[f"{prefix}.{kind}"] = tensor
    return plain


def lora_only(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The LoRA in `state` under the names that `engine.wan.lora` reads."""
    short = f".{ADAPTER}.weight"
    return {
        name.removesuffix(short) + ".weight": tensor.contiguous()
        for name, tensor in state.items()
        if name.endswith((_DOWN, _UP))
    }
