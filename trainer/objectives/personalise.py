"""Nano's motion fine-tuned on one person's talking video: LoRA on its transformer, trained on windows of that video.

The face is followed through the film, encoded as nano's motion latents, and learned as in SFT, with the person's own
voice; the last fifth is held out and tells whether it helped. The result is a nano folder with the LoRA made one with
the weights. Knows nothing about pictures beyond landmarks.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.contract.errors import UserError
from engine.contract.variants import FPS
from engine.media.audio import SAMPLE_RATE_HZ, is_silent, read_audio
from engine.media.film import filled, read_film
from engine.nano.model import NanoModel
from engine.sampling.tasks import FRAMES_PER_LATENT, to_video_frames
from trainer.data.files import writable_folder
from trainer.data.tasks import IMAGE_TO_VIDEO, LIP_SYNC, conditions, draw_tasks
from trainer.loop.checkpoint import claim
from trainer.loop.flow import FlowBatch, flow_loss, predict
from trainer.loop.lora import add_lora
from trainer.loop.processes import Processes
from trainer.loop.recipes import SEEN, SFTRecipe, Stage, nano_soup
from trainer.loop.training import Training
from trainer.objectives.sft import fit
from trainer.subjects.nano_batches import NanoVelocity, cell_weights, drawn_phda, dropout, nano_trainee

RANK = 8
LEAST_S, MOST_S = 6.0, 600.0
HELD_OUT_SHARE = 0.2
_SHOWN_SHARE = 0.9
"""Of a film's frames must show a face."""
_HELD_OUT_STEP, _HELD_OUT_BATCHES = 2**31 - 64, 4


def personal_recipe(steps: int, seed: int) -> SFTRecipe:
    """A short training on talking heads and lip-sync."""
    return replace(
        nano_soup(),
        name="personalise",
        stages=(Stage(steps, {IMAGE_TO_VIDEO: 0.65, LIP_SYNC: 0.35}),),
        old_share=0.05,
        seed=seed,
        learning_rate=5e-4,
        final_learning_rate=5e-5,
        warmup_steps=20,
        lengths=((8, 8),),
    )


@dataclass(frozen=True)
class Talk:
    """A person talking: `landmarks_px` [F, 468, 3] at 25 frames a second, `audio` [F, 5, 1, channels] as nano hears."""

    landmarks_px: np.ndarray
    audio: Tensor

    def part(self, start: int, stop: int) -> "Talk":
        """Frames [start, stop)."""
        return Talk(self.landmarks_px[start:stop], self.audio[start:stop])

    @property
    def frames(self) -> int:
        """F."""
        return len(self.landmarks_px)


def read_talk(path: Path, model: NanoModel) -> Talk:
    """The face and the voice in the video `path`. Raises UserError where it is too short, silent, or shows no face."""
    wave = read_audio(path, field="video", max_s=MOST_S)
    heard_s = len(wave) / SAMPLE_RATE_HZ
    if heard_s < LEAST_S:
        raise UserError(f"{path.name} lasts {heard_s:.1f} s; give at least {LEAST_S:g} s of somebody talking.", "video")
    if is_silent(wave):
        raise UserError(f"{path.name} is silent; give a video in which somebody talks.", "video")
    film, _ = read_film(path, max_s=MOST_S)
    seconds = min(film.duration_s, heard_s)
    shown = float(np.mean([points is not None for points in film.landmarks_px]))
    if shown < _SHOWN_SHARE:
        raise UserError(
            f"Only {shown:.0%} of the frames of {path.name} show a face; give a video in which one is always seen.",
            "video",
        )
    frames = int(seconds * FPS)
    nearest = np.searchsorted(film.times_s, np.arange(frames) / FPS + 1e-6, side="right") - 1
    landmarks_px = filled(list(film.landmarks_px))[nearest.clip(0)]
    return Talk(landmarks_px, model.encode_audio(wave, frames)[0])


class TalkBatches:
    """Windows of a talk, drawn from (seed, step); the picture is a window's first frame, or another of the talk's."""

    def __init__(self, recipe: SFTRecipe, model: NanoModel, talk: Talk) -> None:
        self._recipe, self._model, self._talk = recipe, model, talk

    def draw(self, step: int) -> FlowBatch:
        """The batch of step `step`."""
        recipe, talk, face = self._recipe, self._talk, self._model.autoencoder
        random = np.random.default_rng([recipe.seed, 9, step])
        noise = torch.Generator().manual_seed(recipe.seed * 2**31 + step)
        length, size = recipe.lengths[step % len(recipe.lengths)]
        length = min(length, (talk.frames - 1) // FRAMES_PER_LATENT)
        frames = to_video_frames(1 + length)
        tasks = draw_tasks(recipe.stage_at(step)[1].tasks, size, random)
        starts = random.integers(talk.frames - frames + 1, size=size)
        continuous = random.random(size) < 0.5
        rows = []
        for start, goes_on in zip(starts, continuous, strict=True):
            still_px = talk.landmarks_px[start if goes_on else random.integers(talk.frames)]
            reference = face.reference(np.zeros((1, 1, 3), np.uint8), still_px)
            rows.append(face.encode(np.stack([still_px, *talk.landmarks_px[start + 1 : start + frames]]), reference))
        x0 = torch.cat(rows)
        sigma = torch.rand(size, generator=noise)
        sigma = recipe.tau_shift * sigma / (1 + (recipe.tau_shift - 1) * sigma)
        eps = torch.randn(x0.shape, generator=noise)
        keep_text, keep_image, keep_audio = dropout(recipe, size, noise)
        audio = torch.stack([talk.audio[start : start + frames] for start in starts])
        return FlowBatch(
            x0,
            eps,
            sigma,
            {
                "known": conditions(x0, tasks, continuous, np.zeros(size, int), noise),
                "tokens": self._model.text_encoder.tokens([""] * size),
                "keep_text": keep_text,
                "reference": x0[:, :, :1],
                "keep_image": keep_image,
                "audio": audio * keep_audio[..., None, None],
                "modal_weights": drawn_phda(recipe, 1000 * sigma, noise),
            },
        )


def personalise(talk: Talk, start: NanoModel, run: Path, *, steps: int, seed: int) -> tuple[Path, float, float]:
    """Train on `talk`, or go on; the model's folder, and the held-out loss before and after."""
    recipe = personal_recipe(steps, seed)
    writable_folder(run)
    claim(
        run,
        {
            "recipe": recipe.as_dict(),
            "start_sha256": start.checkpoint_sha256,
            "talk_sha256": hashlib.sha256(talk.landmarks_px.tobytes()).hexdigest(),
        },
    )
    cut = round(talk.frames * (1 - HELD_OUT_SHARE))
    heard = TalkBatches(recipe, start, talk.part(0, cut))
    endless = replace(recipe, stages=(Stage(2**31, recipe.stages[0].tasks),))
    unheard = TalkBatches(endless, start, talk.part(cut, talk.frames))
    held = [unheard.draw(_HELD_OUT_STEP + number) for number in range(_HELD_OUT_BATCHES)]
    before = _loss(start, held, recipe)
    model = NanoModel(start.description | {"personalised": recipe.as_dict()})
    model.load_state_dict(start.state_dict())
    model.requires_grad_(False)
    add_lora(model.transformer, RANK)
    training = Training(nano_trainee(model, recipe), run, Processes(), weight_decay=0.0, seen=SEEN)
    fit(training, recipe, lambda step: training.processes.part(heard.draw(step)))
    return run / "model", before, _loss(NanoModel.load(run / "model"), held, recipe)


@torch.no_grad()
def _loss(model: NanoModel, batches: list[FlowBatch], recipe: SFTRecipe) -> float:
    velocity, weights = NanoVelocity(model), cell_weights(recipe)
    return float(torch.stack([flow_loss(predict(velocity, batch), batch, weights) for batch in batches]).mean())
