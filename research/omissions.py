"""Modalities that are left out in a phase of the denoising: the paper's ablations A, B and C, as weights over tau.

Eq. 2 knows no weight of 0, so settings cannot express these; a hook on the transformer sets them, in training as in
sampling. Early is tau >= 667, middle from 333 up, late below.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.contract.phases import MODALITIES
from engine.sampling.phda import PhaseSchedule

EARLY_FROM = 667.0
MIDDLE_FROM = 333.0

OMISSIONS: dict[str, tuple[str, PhaseSchedule]] = {
    "audio early": ("audio", PhaseSchedule(((EARLY_FROM, 1.0), (EARLY_FROM, 0.0)))),
    "text early and middle": ("text", PhaseSchedule(((MIDDLE_FROM, 1.0), (MIDDLE_FROM, 0.0)))),
    "image": ("image", PhaseSchedule(((0.0, 0.0),))),
}
"""Which modality weighs what instead of its phase weight; the others keep theirs."""


@contextmanager
def omitting(transformer: nn.Module, omission: str | None) -> Iterator[None]:
    """While this lasts every forward of `transformer` leaves out what `omission`, a name in OMISSIONS, says.

    None changes nothing.
    """
    if omission is None:
        yield
        return
    modality, schedule = OMISSIONS[omission]
    column = MODALITIES.index(modality)

    def omit(
        module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        tau: Tensor = given[1]
        weights = named["modal_weights"].clone()
        weights[:, column] = torch.tensor([schedule(float(value)) for value in tau]).to(weights)
        return given, named | {"modal_weights": weights}

    hook = transformer.register_forward_pre_hook(omit, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
