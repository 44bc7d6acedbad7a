"""LoRA files for the released transformers, in diffusers' layout or in the original Wan's.

peft does the work. A file of which nothing fits is refused, one of which a part does not fit too. Knows nothing about
where files come from.
"""

from pathlib import Path

import torch
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers
from torch import Tensor, nn

from engine.contract.errors import UserError
from engine.wan.checkpoints import read_tensors
from engine.wan.transformer import EchoMimicTransformer3DModel

ADAPTER = "user"
_PREFIXES = ("transformer.", "base_model.model.")


def load_lora(transformer: EchoMimicTransformer3DModel, path: Path, scale: float) -> None:
    """Add the LoRA in `path` to `transformer` with strength `scale`. Raises UserError(lora) where it does not fit."""
    if path.suffix != ".safetensors":
        raise UserError(f"{path.name} is not a .safetensors file; LoRA files are read from those alone.", "lora")
    try:
        state = _in_diffusers_names(read_tensors(path), path.name)
    except UserError as error:
        raise UserError(error.message, "lora") from error
    modules = dict(transformer.named_modules())
    for name, tensor in state.items():
        module_name, _, part = name.partition(".lora_")
        module = modules.get(module_name)
        if not isinstance(module, nn.Linear):
            raise UserError(f"{path.name} is not a LoRA for this model: it has no layer {module_name}.", "lora")
        size, axis = (module.in_features, 1) if part.startswith("A") else (module.out_features, 0)
        if size != tensor.shape[axis]:
            raise UserError(
                f"{path.name} is a LoRA for a model of another size: {module_name} takes {module.in_features} numbers "
                f"to {module.out_features}, the file's part is {list(tensor.shape)}.",
                "lora",
            )
    transformer.load_lora_adapter(state, prefix=None, adapter_name=ADAPTER)
    transformer.set_adapters([ADAPTER], [scale])
    # It is given the type of the weights beside it, which is not what they compute in where they are stored in 8 bits.
    for name, parameter in transformer.named_parameters():
        if ".lora_" in name and parameter.dtype == torch.float8_e4m3fn:
            parameter.data = parameter.data.to(transformer.proj_out.weight.dtype)


def unload_lora(transformer: EchoMimicTransformer3DModel) -> None:
    """Take the LoRA off again, if there is one."""
    if ADAPTER in getattr(transformer, "peft_config", {}):
        transformer.unload_lora()


def _in_diffusers_names(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """`state` with our modules' names in front of lora_A.weight and lora_B.weight."""
    original = any(
        name.startswith("diffusion_model.") or ".lora_down." in name or ".self_attn." in name for name in state
    )
    if original:
        prefixed = {
            name if name.startswith("diffusion_model.") else f"diffusion_model.{name}": tensor
            for name, tensor in state.items()
        }
        try:
            state = _convert_non_diffusers_wan_lora_to_diffusers(prefixed)
        except (ValueError, KeyError) as error:
            raise UserError(f"{source} is not a LoRA for a Wan model ({error}).", "lora") from error
    names = {name: name for name in state}
    for prefix in _PREFIXES:
        names = {name: short.removeprefix(prefix) for name, short in names.items()}
    renamed = {names[name]: tensor for name, tensor in state.items()}
    if not renamed or not all(".lora_A." in name or ".lora_B." in name for name in renamed):
        raise UserError(f"{source} is not a LoRA file: it has no lora_A and lora_B matrices.", "lora")
    return renamed
