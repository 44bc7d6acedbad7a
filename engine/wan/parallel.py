"""One clip on several devices: every forward's tokens are shared out (context parallelism, by diffusers).

The processes are started by `torchrun --nproc-per-node N -m engine generate ...`. Each makes the whole clip but for its
share of the tokens, so all end with the same one; the first alone writes and speaks. Knows nothing about requests.
Departure: diffusers' own switch divides by the number of accelerators, so that it fails on a CPU; what it does is done
here step by step, on every kind of device.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig
from diffusers.hooks import apply_context_parallel
from diffusers.models._modeling_parallel import ParallelConfig
from torch.distributed.device_mesh import init_device_mesh


def processes() -> int:
    """How many processes make this clip."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def share(transformer: Any, device: torch.device) -> None:
    """Let all processes compute `transformer`'s forwards together; they must all call them, with equal inputs.

    Shares need not be whole frames; with gloo, on CPUs, they must be equal, since it gathers nothing else. Joins the
    group of processes if this one is not in it yet.
    """
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "cpu:gloo")
    shares = ContextParallelConfig(ulysses_degree=dist.get_world_size(), ulysses_anything=True)
    config = ParallelConfig(context_parallel_config=shares)
    mesh = init_device_mesh(device.type, shares.mesh_shape, mesh_dim_names=shares.mesh_dim_names)
    config.setup(dist.get_rank(), dist.get_world_size(), device, mesh=mesh)
    transformer._parallel_config = config
    for module in transformer.modules():
        if hasattr(getattr(module, "processor", None), "_parallel_config"):
            module.processor._parallel_config = config
    apply_context_parallel(transformer, shares, transformer._cp_plan)
