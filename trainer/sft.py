"""Flow-matching supervised fine-tuning of nano.

x_t = (1 - sigma) * x0 + sigma * eps, target v = eps - x0, tau = 1000 * sigma; the loss is the mean squared error of the
predicted velocity, in which slots weigh more than points. Every draw is keyed by (seed, step), so a run that was killed
goes on to the same losses.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import UserError
from engine.model.audio_projection import WINDOW
from engine.model.face_motion import slot_cells
from engine.model.nano import NanoModel
from engine.model.nano_encoders import NanoAudioEncoder
from engine.sampling.phda import weight
from engine.sampling.tasks import to_video_frames
from trainer.arguments import writable_folder
from trainer.audio_encoder import read_audio_encoder
from trainer.checkpoint import load_state, save_state
from trainer.clips import VOCABULARY, ClipMaker
from trainer.ema import EMA, stage_decay
from trainer.faces import mean_face, ridge_map
from trainer.features import corpus_features
from trainer.recipes import SEEN, SFTRecipe
from trainer.speech.corpus import Corpus
from trainer.tasks import FIRST_LAST_FRAME, conditions, draw_tasks

CHECKPOINT_EVERY = 250
_STATISTICS_STEP = 2**31 - 1
"""The deviations are measured on clips of a step that no run reaches."""
_LEAST_SLOT_STD = 1e-3
_STD_FLOOR = 0.15
"""Least deviation of a point's value, as a share of the liveliest point's: else a forehead counts like the lips."""


def build_model(
    recipe: SFTRecipe, clips: ClipMaker, audio_encoder: NanoAudioEncoder, start: NanoModel | None = None
) -> NanoModel:
    """A nano with the pre-trained audio encoder: fresh with the corpus's statistics, or `start`, trained on.

    `start` keeps its own statistics, and the words that it knows their meaning.
    """
    torch.manual_seed(recipe.seed)
    model = NanoModel(
        {
            "layout": 1,
            "transformer": recipe.transformer,
            "channels": recipe.channels,
            "vocabulary": list(VOCABULARY),
            "window_latent_frames": max(length for length, _ in recipe.lengths),
            "recipe": recipe.as_dict(),
        }
    )
    model.audio_encoder.load_state_dict(audio_encoder.state_dict())
    model.audio_encoder.requires_grad_(False)
    if start is not None:
        _take_over(model, start)
        return model
    sample = clips.draw(_STATISTICS_STEP, 512, 8)
    motion = (sample.points - sample.points[:, :1]).std((0, 1))
    position = sample.points.std((0, 1))
    slots = sample.slots.std((0, 1))
    model.autoencoder.load_state_dict(
        {
            "mean_face": torch.from_numpy(mean_face()),
            "position_std": torch.from_numpy(position),
            "motion_std": torch.from_numpy(np.maximum(motion, _STD_FLOOR * motion.max())),
            "slot_std": torch.from_numpy(np.maximum(slots, _LEAST_SLOT_STD)),
            "ridge": torch.from_numpy(ridge_map(np.random.default_rng(recipe.seed))),
        }
    )
    return model


def _take_over(model: NanoModel, start: NanoModel) -> None:
    """Set `model` to the weights of `start`, all but the audio encoder's; words are matched by name."""
    for part in ("transformer", "image_encoder", "autoencoder"):
        model.get_submodule(part).load_state_dict(start.get_submodule(part).state_dict())
    known = {word: index + 1 for index, word in enumerate(start.text_encoder.vocabulary)}
    with torch.no_grad():
        for index, word in enumerate(model.text_encoder.vocabulary):
            if word in known:
                model.text_encoder.embedding.weight[index + 1] = start.text_encoder.embedding.weight[known[word]]


class Batches:
    """Everything the model is trained on at a step, drawn from (seed, step) alone."""

    def __init__(self, recipe: SFTRecipe, clips: ClipMaker, features: np.ndarray) -> None:
        self._recipe, self._clips, self._features = recipe, clips, features

    def audio(self, first_frames: np.ndarray, frames: int, random: np.random.Generator) -> Tensor:
        """Feature windows [B, F, 5, 1, channels] of corpus frames, of a random augmentation per clip."""
        margin = WINDOW // 2
        offsets = np.arange(frames)[:, None] + np.arange(-margin, margin + 1)
        places = np.clip(first_frames[:, None, None] + offsets, 0, self._features.shape[1] - 1)
        versions = random.integers(self._features.shape[0], size=len(first_frames))
        rows = np.stack([self._features[v][p] for v, p in zip(versions, places, strict=True)])
        return torch.from_numpy(rows.astype(np.float32)).unsqueeze(3)

    def loss(self, model: NanoModel, step: int) -> Tensor:
        """The flow-matching loss of step `step`."""
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
        share = sigma[:, None, None, None, None]
        x_t = (1 - share) * x0 + share * eps

        keep_text, keep_image, keep_audio = _dropout(recipe, size, noise)
        text = model.encode_text(clips.captions) * keep_text
        image = model.image_encoder(x0[:, :, :1]) * keep_image
        audio = self.audio(clips.first_frames, frames, random) * keep_audio[..., None, None]
        velocity = model.transformer(
            torch.cat([x_t, conditions(x0, tasks, clips.continuous, clips.known_at_end, noise)], dim=1),
            1000 * sigma,
            text,
            image,
            encoder_hidden_states_audio=audio,
            modal_weights=_phda(recipe, 1000 * sigma, noise),
        ).sample
        weights = 1 + (recipe.slot_weight - 1) * slot_cells()
        return ((velocity - (eps - x0)).square() * weights).mean() / weights.mean()


def _dropout(recipe: SFTRecipe, size: int, noise: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Which samples keep text, image and audio, each [B, 1, 1]; audio and text are dropped alone or together."""
    draw = torch.rand(size, 1, 1, generator=noise)
    both = recipe.drop_both
    drop_audio = draw < both + recipe.drop_audio
    drop_text = (draw < both) | (draw > 1 - recipe.drop_text)
    drop_image = torch.rand(size, 1, 1, generator=noise) < recipe.drop_image
    return (~drop_text).float(), (~drop_image).float(), (~drop_audio).float()


def _phda(recipe: SFTRecipe, tau: Tensor, noise: torch.Generator) -> Tensor:
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


def _learning_rate(recipe: SFTRecipe, step: int) -> float:
    """Warm-up, then half a cosine down to the final rate."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    share = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    fall = (1 + np.cos(np.pi * min(1.0, share))) / 2
    return recipe.final_learning_rate + (recipe.learning_rate - recipe.final_learning_rate) * float(fall)


def train(
    recipe: SFTRecipe,
    corpus_folder: Path,
    audio_encoder: Path,
    run: Path,
    *,
    start: NanoModel | None = None,
    stop_after: int | None = None,
) -> Path:
    """Train, going on from `run`'s last checkpoint if there is one; returns the folder of the averaged model.

    `run` gets checkpoint.pt (resumable), loss.jsonl, and model/ in the layout the engine loads, all written every
    CHECKPOINT_EVERY steps and at the end of each stage, where the weights become their average. `start` is the model
    that a recipe which is trained on begins with. `stop_after` ends the run early, at that step.
    """
    if recipe.trained_on != (start is not None):
        needs = "begins with a model: give its folder" if recipe.trained_on else "begins with nothing: leave it out"
        raise UserError(f"The recipe {recipe.name} {needs} with --start.", "start")
    corpus = Corpus(corpus_folder / "train")
    encoder = read_audio_encoder(audio_encoder, recipe.channels["audio"])
    writable_folder(run)
    _claim(run, recipe, audio_encoder, corpus, start)
    clips = ClipMaker(corpus, recipe.seed)
    model = build_model(recipe, clips, encoder, start)
    features = corpus_features(
        model.audio_encoder.eval(), corpus, run / "features.npy", recipe.feature_versions, recipe.seed
    )
    batches = Batches(recipe, clips, features)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    ema = EMA(model, decay=0.0, seen=SEEN if recipe.trained_on else 0)
    first = _resume(run, model, optimizer, ema)
    last = recipe.steps if stop_after is None else min(stop_after, recipe.steps)
    started = time.monotonic()
    with (run / "loss.jsonl").open("a") as log:
        for step in range(first, last):
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(recipe, step)
            loss = batches.loss(model, step)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, recipe.gradient_clip)
            optimizer.step()
            number, stage = recipe.stage_at(step)
            ema.decay = stage_decay(recipe.old_share, stage.steps)
            ema.update(model)
            ends = recipe.stage_ends_at(step)
            if ends:
                ema.copy_to(model)
            row = {
                "step": step,
                "stage": number + 1,
                "loss": round(loss.item(), 6),
                "seconds": round(time.monotonic() - started, 1),
            }
            log.write(json.dumps(row) + "\n")
            if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == last or ends:
                log.flush()
                _checkpoint(run, step + 1, model, optimizer, ema)
    return run / "model"


def _claim(run: Path, recipe: SFTRecipe, audio_encoder: Path, corpus: Corpus, start: NanoModel | None) -> None:
    """Write down what `run` is made of; raises UserError where it was begun with something else."""
    made_of = {
        "recipe": recipe.as_dict(),
        "audio_encoder_sha256": hashlib.sha256(audio_encoder.read_bytes()).hexdigest(),
        "corpus_frames": len(corpus.curves),
        "start_sha256": start.checkpoint_sha256 if start else None,
    }
    described = json.dumps(made_of, indent=1) + "\n"
    note = run / "made_of.json"
    if note.exists() and note.read_text() != described:
        before = json.loads(note.read_text())
        changed = ", ".join(name for name in made_of if json.dumps(made_of[name]) != json.dumps(before.get(name)))
        raise UserError(f"The run in {run} was begun with another {changed}: give a new folder with --run.", "run")
    note.write_text(described)


def _resume(run: Path, model: NanoModel, optimizer: torch.optim.Optimizer, ema: EMA) -> int:
    state = load_state(run / "checkpoint.pt")
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    ema.load_state_dict(state["ema"])
    rows = [json.loads(line) for line in (run / "loss.jsonl").read_text().splitlines()]
    kept = [json.dumps(row) for row in rows if row["step"] < state["step"]]
    (run / "loss.jsonl").write_text("".join(line + "\n" for line in kept))
    return int(state["step"])


def _checkpoint(run: Path, step: int, model: NanoModel, optimizer: torch.optim.Optimizer, ema: EMA) -> None:
    state: dict[str, Any] = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema.state_dict(),
    }
    save_state(run / "checkpoint.pt", state)
    averaged = NanoModel(model.description | {"steps_done": step})
    averaged.load_state_dict(model.state_dict())
    ema.copy_to(averaged)
    averaged.save(run / "model")
