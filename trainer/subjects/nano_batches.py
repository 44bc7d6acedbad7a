"""Nano's training batches, drawn from (seed, step) alone, and nano's forward as one module.

Everything random about a step is drawn here, in one order, so that a run that was killed goes on to the same losses and
several processes, of which each takes its part of the batch, see what one would. Knows nothing about optimisers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.nano.face_motion import lip_cells, slot_cells
from engine.nano.model import NanoModel
from engine.sampling.phda import weight
from engine.sampling.tasks import to_video_frames
from engine.wan.audio_projection import WINDOW
from trainer.data.synthetic_clips import ClipMaker
from trainer.data.tasks import FIRST_LAST_FRAME, conditions, draw_tasks
from trainer.loop.flow import FlowBatch
from trainer.loop.lora import merged
from trainer.loop.recipes import SFTRecipe
from trainer.loop.training import Trainee


class NanoVelocity(nn.Module):
    """What is trained of nano, from a batch's tensors to the velocity in one forward, as wrappers need it.

    The audio encoder is not in it: it is frozen, its features come in.
    """

    def __init__(self, model: NanoModel) -> None:
        super().__init__()
        self.transformer = model.transformer
        self.text_encoder = model.text_encoder
        self.image_encoder = model.image_encoder

    def forward(
        self,
        noisy: Tensor,
        tau: Tensor,
        *,
        known: Tensor,
        tokens: Tensor,
        keep_text: Tensor,
        reference: Tensor,
        keep_image: Tensor,
        audio: Tensor,
        modal_weights: Tensor,
    ) -> Tensor:
        """The velocity [B, 16, T, 8, 8].

        `known` [B, 20, T, 8, 8] are mask and masked latents, `tokens` [B, words] the caption, `reference`
        [B, 16, 1, 8, 8] the picture's latent, `audio` [B, F, 5, 1, channels], `modal_weights` [B, 3]; `keep_text` and
        `keep_image` [B, 1, 1] are 0 where that modality is dropped.
        """
        velocity: Tensor = self.transformer(
            torch.cat([noisy, known], dim=1),
            tau,
            self.text_encoder(tokens) * keep_text,
            self.image_encoder(reference) * keep_image,
            encoder_hidden_states_audio=audio,
            modal_weights=modal_weights,
            return_dict=False,
        )[0]
        return velocity


def cell_weights(recipe: SFTRecipe) -> Tensor:
    """What the error of each cell of the latent grid counts, [8, 8]: slots and the mouth more than other points."""
    slots = slot_cells()
    return 1 + (recipe.slot_weight - 1) * slots + (recipe.lip_weight - 1) * lip_cells() * (1 - slots)


def nano_trainee(model: NanoModel, recipe: SFTRecipe) -> Trainee:
    """`model` to be trained with `recipe`'s weights of slots and points."""

    def write(state: dict[str, Tensor], folder: Path, note: dict[str, Any]) -> None:
        averaged = NanoModel(model.description | note)
        averaged.load_state_dict(merged(state))
        averaged.save(folder)

    return Trainee(model, model.transformer, NanoVelocity(model), cell_weights(recipe), write)


class NanoBatches:
    """Everything the model is trained on at a step, drawn from (seed, step) alone."""

    def __init__(self, recipe: SFTRecipe, clips: ClipMaker, features: np.ndarray) -> None:
        """`features` [versions, frames, channels] are those of the corpus that `clips` are drawn from."""
        self._recipe, self._clips, self._features = recipe, clips, features

    def _audio(self, first_frames: np.ndarray, frames: int, random: np.random.Generator) -> Tensor:
        """Feature windows [B, F, 5, 1, channels] of corpus frames, of a random augmentation per clip."""
        margin = WINDOW // 2
        offsets = np.arange(frames)[:, None] + np.arange(-margin, margin + 1)
        places = np.clip(first_frames[:, None, None] + offsets, 0, self._features.shape[1] - 1)
        versions = random.integers(self._features.shape[0], size=len(first_frames))
        rows = np.stack([self._features[v][p] for v, p in zip(versions, places, strict=True)])
        return torch.from_numpy(rows.astype(np.float32)).unsqueeze(3)

    def draw(self, model: NanoModel, step: int) -> FlowBatch:
        """The batch of step `step`, in the units of `model`'s autoencoder and vocabulary."""
        recipe = self._recipe
        random = np.random.default_rng([recipe.seed, 3, step])
        noise = torch.Generator().manual_seed(recipe.seed * 2**31 + step)
        length, size = recipe.lengths[step % len(recipe.lengths)]
        tasks = draw_tasks(recipe.stage_at(step)[1].tasks, size, np.random.default_rng([recipe.seed, 4, step]))
        clips = self._clips.draw(step, size, length, tasks == FIRST_LAST_FRAME)
        frames = to_video_frames(1 + length)
        points = torch.from_numpy(clips.points)
        x0 = model.autoencoder.pack(points, points[:, 0], torch.from_numpy(clips.slots))

        sigma = torch.rand(size, generator=noise)
        sigma = recipe.tau_shift * sigma / (1 + (recipe.tau_shift - 1) * sigma)
        eps = torch.randn(x0.shape, generator=noise)

        keep_text, keep_image, keep_audio = dropout(recipe, size, noise)
        audio = self._audio(clips.first_frames, frames, random) * keep_audio[..., None, None]
        return FlowBatch(
            x0,
            eps,
            sigma,
            {
                "known": conditions(x0, tasks, clips.continuous, clips.known_at_end, noise),
                "tokens": model.text_encoder.tokens(clips.captions),
                "keep_text": keep_text,
                "reference": x0[:, :, :1],
                "keep_image": keep_image,
                "audio": audio,
                "modal_weights": drawn_phda(recipe, 1000 * sigma, noise),
            },
            mask=None if recipe.closure_weight == 1 else closure_mask(clips.closed, recipe.closure_weight),
        )


def closure_mask(closed: np.ndarray, counts: float) -> Tensor:
    """`counts` for mouth and jaw in latent frames that hold a frame of `closed` [B, 1 + 4n], 1 elsewhere.

    [B, 1, 1 + n, 8, 8]. The first latent frame, the reference, is never one of them.
    """
    held = torch.from_numpy(closed[:, 1:]).unflatten(1, (-1, 4)).any(2)
    held = torch.cat([torch.zeros_like(held[:, :1]), held], dim=1)[:, None, :, None, None]
    return 1 + (counts - 1) * held * lip_cells() * (1 - slot_cells())


def dropout(recipe: SFTRecipe, size: int, noise: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Which samples keep text, image and audio, each [B, 1, 1]; audio and text are dropped alone or together."""
    draw = torch.rand(size, 1, 1, generator=noise)
    both = recipe.drop_both
    drop_audio = draw < both + recipe.drop_audio
    drop_text = (draw < both) | (draw > 1 - recipe.drop_text)
    drop_image = torch.rand(size, 1, 1, generator=noise) < recipe.drop_image
    return (~drop_text).float(), (~drop_image).float(), (~drop_audio).float()


def drawn_phda(recipe: SFTRecipe, tau: Tensor, noise: torch.Generator) -> Tensor:
    """Modal weights [B, 3] with breakpoints drawn per sample: shifted by up to 100, width changed by up to 25 %."""
    columns = []
    for low, high in (recipe.phda[name] for name in ("text", "image", "audio")):
        if (low, high) == (0, 0):
            columns.append(torch.ones_like(tau))
            continue
        shift = 200 * torch.rand(len(tau), generator=noise) - 100
        half = (high - low) / 2 * (0.75 + 0.5 * torch.rand(len(tau), generator=noise))
        middle = (low + high) / 2 + shift
        columns.append(weight(tau, (middle - half).clamp(0, 1000), (middle + half).clamp(0, 1000)))
    return torch.stack(columns, dim=1)
