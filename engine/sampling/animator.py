"""What the pipeline asks of a loaded model, nano or released: conditions in, frames out.

Everything between, the denoising, is the same for all. Knows nothing about files or queues.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from engine.contract.progress import Stage
from engine.contract.request import GenerationRequest
from engine.media.inputs import Inputs
from engine.sampling.denoise import Conditions


class Animator(Protocol):
    """A model that carries out requests, all five tasks or some."""

    @property
    def transformer(self) -> nn.Module:
        """What predicts the velocity."""
        ...

    window_latent_frames: int
    """The content of a window, in latent frames, unless the settings ask for another."""
    checkpoint_sha256: str
    workers: int
    """Forwards of the transformer at a time."""

    def encode(self, inputs: Inputs, request: GenerationRequest) -> Conditions:
        """All the transformer is told about the clip, for the request's task."""
        ...

    def frames(self, latents: Tensor, inputs: Inputs, request: GenerationRequest) -> Iterator[np.ndarray]:
        """The video's frames from its latents [1, 16, T, h, w], uint8 RGB [H, W, 3] of one even size, one by one.

        As many as the output has, `inputs.num_frames` of them, in order: what is beyond the output's end is not drawn.
        """
        ...

    def preview(self, clean: Tensor, inputs: Inputs, request: GenerationRequest) -> bytes:
        """A small WebP, maybe animated, of an estimate of the clean latents."""
        ...

    def notices(self, request: GenerationRequest) -> list[str]:
        """What the user should know about how this model takes the request."""
        ...

    def expected_s(self, inputs: Inputs, request: GenerationRequest) -> dict[Stage, float]:
        """A guess of the stages' seconds, for the progress bar."""
        ...
