"""The processes that share a training: this one alone, or those that `accelerate launch` started.

DDP and FSDP2 by the configuration that accelerate was given (`trainer/configs/`). Every process draws the same batch
and takes its part of it, gradients and means are over all, so that losses do not depend on how many there are. Knows
nothing about models but their blocks.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from engine.contract.errors import UserError
from trainer.loop.flow import FlowBatch

REPORTS = ("tensorboard", "wandb")
"""Trackers that can be told."""


class Processes:
    """`count` of them, of which this is `number`; the `is_first` one writes files."""

    def __init__(self, report: str | None = None, folder: Path | None = None) -> None:
        """`report` is one of REPORTS, which writes into `folder`.

        Raises UserError for a precision that cannot be trained in, or a tracker that is not installed.
        """
        try:
            self._accelerator = Accelerator(log_with=report, project_dir=folder)
            if report is not None:
                self._accelerator.init_trackers("echomimic")
        except (ValueError, ImportError) as error:
            raise UserError(f"The tracker {report} cannot be used ({error}): install it, or leave it out.") from error
        if self._accelerator.mixed_precision not in {"no", "bf16"}:
            raise UserError(
                f"mixed_precision {self._accelerator.mixed_precision} is not trained in; set it to bf16 or no in "
                "accelerate's configuration.",
                "mixed_precision",
            )
        self.count: int = self._accelerator.num_processes
        self.number: int = self._accelerator.process_index
        self.device: torch.device = self._accelerator.device
        self.sharded = self.count > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"

    @property
    def is_first(self) -> bool:
        """Whether this process writes for all."""
        return self.number == 0

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """What is inside is done by the first process, then by the others, who find its files."""
        with self._accelerator.main_process_first():
            yield

    def share(self, velocity: nn.Module) -> nn.Module:
        """`velocity` on this process's device, its gradients or its weights shared with the others."""
        velocity.to(self.device)
        if not self.sharded:
            prepared: Any = self._accelerator.prepare_model(velocity)
            if self.count > 1:
                # Nothing in a forward changes a buffer.
                prepared.broadcast_buffers = False
            assert isinstance(prepared, nn.Module)
            return prepared
        half = self._accelerator.mixed_precision == "bf16"
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32)
        # A velocity is put together from patches: a view, of which FSDP2 warns, since its hook for the backward pass is
        # lost where that is changed in place. Registered first, so that FSDP2 sees the copy.
        velocity.register_forward_hook(lambda module, inputs, output: output.clone())
        for block in _blocks(velocity):
            fully_shard(block, mp_policy=policy)
        fully_shard(velocity, mp_policy=policy)
        return velocity

    def freeze(self, velocity: nn.Module) -> None:
        """Put `velocity`, never trained, on this process's device; it computes as exactly as a shared one, so that the
        two differ by what was learned alone."""
        velocity.requires_grad_(False).to(self.device)
        if self._accelerator.mixed_precision == "bf16":
            velocity.forward = torch.autocast(self.device.type, torch.bfloat16)(velocity.forward)

    def part(self, batch: FlowBatch) -> FlowBatch:
        """This process's clips of `batch`, on its device. Raises UserError where they cannot be shared evenly."""
        if len(batch.sigma) % self.count:
            raise UserError(
                f"A batch of {len(batch.sigma)} clips cannot be shared evenly by {self.count} processes: start a "
                "number that divides it.",
                "num_processes",
            )
        return (batch if self.count == 1 else batch.part(self.number, self.count)).to(self.device)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of `value` over all processes, without gradient."""
        if self.count == 1:
            return value.detach()
        mean: Tensor = self._accelerator.reduce(value.detach().clone(), "mean")
        return mean

    def report(self, values: dict[str, float], step: int) -> None:
        """Tell the tracker, if there is one."""
        self._accelerator.log(values, step=step)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            self._accelerator.wait_for_everyone()


def _blocks(velocity: nn.Module) -> list[nn.Module]:
    """The transformer's blocks: what is gathered together and let go again."""
    return [module for name, module in velocity.named_modules() if name.split(".")[-2:-1] == ["blocks"]]


def whole(value: Any) -> Any:
    """A tensor that is sharded over processes in one piece on the CPU; whatever else as it is. All must call it."""
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, dict):
        return {name: whole(inside) for name, inside in value.items()}
    return value


def like(value: Tensor, tensor: Tensor) -> Tensor:
    """`value` where `tensor` is, and sharded as it is."""
    if isinstance(tensor, DTensor):
        return distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)
    return value.to(tensor.device)
