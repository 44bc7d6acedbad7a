"""SFT of the released geometry from precomputed shards (`trainer.prepare`): tensors in, velocity out, any model size.

Every clip of a batch is drawn from (seed, step, index), so that a process reads only its own. Tasks and masks as in
the paper's table; M is 1 where the model must generate. Departures: a clip is used from its beginning, because the
video autoencoder's first latent is unlike the others; where older shards have no group `first_last`, the other tasks
take first-last-frame's share.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.contract.errors import UserError
from engine.contract.variants import SPEECH_ENCODERS, TRANSFORMER_WEIGHTS
from engine.sampling.tasks import FRAMES_PER_LATENT, first_last_frame, image_to_video, lip_sync, to_video_frames
from engine.wan.animator import attention_heads
from engine.wan.checkpoints import ReleasedTransformer, convert_transformer, load_transformer
from engine.wan.layout import BASE
from trainer.data.shards import Shards
from trainer.data.tasks import FIRST_LAST_FRAME, IMAGE_TO_VIDEO, LIP_SYNC, MAX_LATENT_FRAMES, TEXT_TO_VIDEO, draw_tasks
from trainer.loop.flow import FlowBatch
from trainer.loop.recipes import SFTRecipe, Stage
from trainer.subjects.nano_batches import drawn_phda, dropout

TEXT_TOKENS = 512
NOTHING_SHOWN_SHARE = 0.9
"""Of text-to-video's clips whose masked latents are zeros, as at inference; the others' are those of grey."""


Features = Mapping[str, Mapping[str, Tensor]]
"""A clip's tensors by group and name (`trainer.prepare.released_features`)."""


class ReleasedVelocity(nn.Module):
    """The transformer from a batch's tensors to the velocity in one forward."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self,
        noisy: Tensor,
        tau: Tensor,
        *,
        known: Tensor,
        text: Tensor,
        image: Tensor,
        audio: Tensor,
        modal_weights: Tensor,
        face_mask: Tensor,
    ) -> Tensor:
        """`noisy` [B, 16, T, h, w], `known` mask and masked latents [B, 20, T, h, w], the rest as the transformer has
        it (`engine.wan.transformer`); returns the velocity [B, 16, T, h, w]."""
        velocity: Tensor = self.transformer(
            torch.cat([noisy, known], dim=1),
            tau,
            text,
            image,
            encoder_hidden_states_audio=audio,
            modal_weights=modal_weights,
            face_mask=face_mask,
            return_dict=False,
        )[0]
        return velocity


def read_transformer(folder: Path, name: ReleasedTransformer) -> Any:
    """The transformer of the released model in `folder`, in float32. Raises UserError for a file that does not fit."""
    speech = json.loads((folder / SPEECH_ENCODERS[name] / "config.json").read_text())
    heads = attention_heads(folder / BASE / "config.json")
    return load_transformer(folder / TRANSFORMER_WEIGHTS, name, heads=heads, audio_dim=int(speech["hidden_size"]))


def write_released(state: Mapping[str, Tensor], original: Path, folder: Path) -> None:
    """Write a transformer's `state` under the released file's own names, in its precision, beside links to the rest."""
    before = load_file(original / TRANSFORMER_WEIGHTS)
    # The released code's converter only renames, so numbers in place of tensors tell which name becomes which.
    numbered = convert_transformer({name: torch.tensor(number) for number, name in enumerate(before)})
    names = list(before)
    became = {names[int(number)]: name for name, number in numbered.items()}
    saved = {
        name: state[became[name]].to(tensor.dtype).contiguous() if became[name] in state else tensor
        for name, tensor in before.items()
    }
    (folder / TRANSFORMER_WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    save_file(saved, folder / TRANSFORMER_WEIGHTS)
    for part in original.resolve().iterdir():
        if part.name != TRANSFORMER_WEIGHTS.parts[0]:
            (folder / part.name).symlink_to(part, target_is_directory=part.is_dir())


def possible(recipe: SFTRecipe, groups: tuple[str, ...]) -> SFTRecipe:
    """`recipe` with first-last-frame's share given to the other tasks where the shards cannot show it."""
    if "first_last" in groups:
        return recipe

    def without(stage: Stage) -> Stage:
        kept = {task: share for task, share in stage.tasks.items() if task != FIRST_LAST_FRAME}
        return replace(stage, tasks={task: share / sum(kept.values()) for task, share in kept.items()})

    return replace(recipe, stages=tuple(without(stage) for stage in recipe.stages))


class ReleasedBatches:
    """Batches from shards; all clips of a batch have one shape, shapes are drawn as often as they have clips."""

    def __init__(self, recipe: SFTRecipe, shards: Shards, variant: ReleasedTransformer, batch: int) -> None:
        """`batch` is that of all processes together. Raises UserError where the shards hold no clip."""
        self._recipe, self._shards, self._variant, self._batch = recipe, shards, variant, batch
        self._by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, row in enumerate(shards.rows):
            shape = (min(row["frames"], to_video_frames(MAX_LATENT_FRAMES)), row["height_px"], row["width_px"])
            self._by_shape.setdefault(shape, []).append(number)
        if not self._by_shape:
            raise UserError(f"{shards.folder} holds no clip that was accepted: see its yield report.", "data")

    def draw(self, step: int, number: int = 0, parts: int = 1) -> FlowBatch:
        """Part `number` of `parts` of the batch of step `step`."""
        seed, size = self._recipe.seed, self._batch // parts
        shapes = sorted(self._by_shape)
        counts = np.array([len(self._by_shape[shape]) for shape in shapes])
        random = np.random.default_rng([seed, 7, step])
        group = self._by_shape[shapes[int(random.choice(len(shapes), p=counts / counts.sum()))]]
        tasks = draw_tasks(self._recipe.stage_at(step)[1].tasks, self._batch, random)
        rows = [
            self._clip(group, str(tasks[index]), step, index) for index in range(number * size, (number + 1) * size)
        ]
        return FlowBatch(
            torch.cat([row.x0 for row in rows]),
            torch.cat([row.eps for row in rows]),
            torch.cat([row.sigma for row in rows]),
            {name: torch.cat([row.conditions[name] for row in rows]) for name in rows[0].conditions},
        )

    def _clip(self, group: list[int], task: str, step: int, index: int) -> FlowBatch:
        recipe = self._recipe
        random = np.random.default_rng([recipe.seed, 8, step, index])
        noise = torch.Generator().manual_seed(int(random.integers(2**62)))
        read = self._shards.clip(group[random.integers(len(group))])
        x0 = read["latents"]["latents"].float()[None, :, :MAX_LATENT_FRAMES]
        frames = to_video_frames(x0.shape[2])
        sigma = torch.rand(1, generator=noise)
        sigma = recipe.tau_shift * sigma / (1 + (recipe.tau_shift - 1) * sigma)
        eps = torch.randn(x0.shape, generator=noise)
        keep_text, keep_image, keep_audio = dropout(recipe, 1, noise)
        return FlowBatch(
            x0,
            eps,
            sigma,
            {
                "known": known_of(read, task, x0, noise),
                "text": padded_text(read) * keep_text,
                "image": read["image"]["image"].float()[None] * keep_image,
                "audio": heard(read, frames, self._variant) * keep_audio.flatten(),
                "modal_weights": drawn_phda(recipe, 1000 * sigma, noise),
                "face_mask": face_mask(read, self._variant),
            },
        )


def padded_text(read: Features) -> Tensor:
    """A clip's caption [1, TEXT_TOKENS, C], zeros behind it."""
    text = read["text"]["text"].float()[None]
    return torch.nn.functional.pad(text, (0, 0, 0, TEXT_TOKENS - text.shape[1]))


def heard(read: Features, frames: int, variant: ReleasedTransformer) -> Tensor:
    """A clip's voice as the transformer takes it, of its first `frames`."""
    audio = read["audio"]["audio"].float()
    if variant == "preview":
        return audio[None, : 2 * frames]
    from trainer.prepare.released_features import layer_windows

    return layer_windows(audio)[None, :frames]


def face_mask(read: Features, variant: ReleasedTransformer) -> Tensor:
    """Where the voice may act [1, tokens]: everywhere for flash, which never saw a mask."""
    mask = read["image"]["face_mask"].float()[None]
    return mask if variant == "preview" else torch.ones_like(mask)


def known_of(read: Features, task: str, x0: Tensor, noise: torch.Generator) -> Tensor:
    """Mask and masked latents [1, 20, T, h, w] of `task`."""
    latent_frames = x0.shape[2]
    frames = to_video_frames(latent_frames)
    if task == LIP_SYNC:
        cells = read["lip"]["generate"][:frames].float()
        generate = cells.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        return lip_sync(read["lip"]["masked_latents"].float()[None, :, :latent_frames], generate[None])
    masked = read["i2v"]["masked_latents"].float()[None, :, :latent_frames]
    if task == TEXT_TO_VIDEO:
        shown = float(torch.rand((), generator=noise)) >= NOTHING_SHOWN_SHARE
        grey = masked[:, :, -1:].expand_as(masked) * float(shown)
        return torch.cat([torch.zeros_like(grey[:, :FRAMES_PER_LATENT]), grey], dim=1)
    if task == FIRST_LAST_FRAME:
        mask = first_last_frame(x0[:, :, :1], x0[:, :, -1:], frames)[:, :FRAMES_PER_LATENT]
        masked = torch.cat([masked[:, :, :-1], read["first_last"]["ending"].float()[None]], dim=2)
    else:
        assert task == IMAGE_TO_VIDEO
        mask = image_to_video(x0[:, :, :1], frames)[:, :FRAMES_PER_LATENT]
    return torch.cat([mask, masked], dim=1)
