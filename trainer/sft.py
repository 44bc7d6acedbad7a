"""Flow-matching supervised fine-tuning of nano.

x_t = (1 - sigma) * x0 + sigma * eps, target v = eps - x0, tau = 1000 * sigma; the loss is the mean squared error of the
predicted velocity, in which slots weigh more than points. Every draw is keyed by (seed, step), so a run that was killed
goes on to the same losses.
"""

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from engine.errors import UserError
from engine.model.nano import NanoModel
from engine.model.nano_encoders import NanoAudioEncoder
from trainer.arguments import writable_folder
from trainer.audio_encoder import read_audio_encoder
from trainer.checkpoint import claim, load_state, save_folder, save_state, trim_log
from trainer.clips import VOCABULARY, ClipMaker
from trainer.ema import EMA, stage_decay
from trainer.faces import mean_face, ridge_map
from trainer.features import corpus_features
from trainer.flow import flow_loss, predict
from trainer.nano_batches import NanoBatches, NanoVelocity, cell_weights
from trainer.recipes import SEEN, SFTRecipe
from trainer.speech.corpus import Corpus

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
    claim(
        run,
        {
            "recipe": recipe.as_dict(),
            "audio_encoder_sha256": hashlib.sha256(audio_encoder.read_bytes()).hexdigest(),
            "corpus_frames": len(corpus.curves),
            "start_sha256": start.checkpoint_sha256 if start else None,
        },
    )
    clips = ClipMaker(corpus, recipe.seed)
    model = build_model(recipe, clips, encoder, start)
    features = corpus_features(
        model.audio_encoder.eval(), corpus, run / "features.npy", recipe.feature_versions, recipe.seed
    )
    batches, velocity, weights = NanoBatches(recipe, clips, features), NanoVelocity(model), cell_weights(recipe)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    ema = EMA(model, decay=0.0, seen=SEEN if recipe.trained_on else 0)
    first = _resume(run, model, optimizer, ema)
    last = recipe.steps if stop_after is None else min(stop_after, recipe.steps)
    started = time.monotonic()
    with (run / "loss.jsonl").open("a") as log:
        for step in tqdm(range(first, last), initial=first, total=last, desc=recipe.name, disable=None):
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(recipe, step)
            batch = batches.draw(model, step)
            loss = flow_loss(predict(velocity, batch), batch, weights)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(trained, recipe.gradient_clip)
            if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
                raise _diverged(run, step)
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


def _diverged(run: Path, step: int) -> UserError:
    kept = load_state(run / "checkpoint.pt")
    good = f"the last good model, of step {kept['step']}, is {run / 'model'}" if kept else "nothing had been saved yet"
    return UserError(
        f"The run diverged: at step {step} the loss or its gradient is no longer a number; {good}. Start a new run "
        "with a lower learning rate.",
        "run",
    )


def _resume(run: Path, model: NanoModel, optimizer: torch.optim.Optimizer, ema: EMA) -> int:
    state = load_state(run / "checkpoint.pt")
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    ema.load_state_dict(state["ema"])
    trim_log(run / "loss.jsonl", state["step"])
    return int(state["step"])


def _checkpoint(run: Path, step: int, model: NanoModel, optimizer: torch.optim.Optimizer, ema: EMA) -> None:
    """The averaged model first: a run that is killed between the two goes on from the state before, and makes both."""
    averaged = NanoModel(model.description | {"steps_done": step})
    averaged.load_state_dict(model.state_dict())
    ema.copy_to(averaged)
    save_folder(run / "model", averaged.save)
    state: dict[str, Any] = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema.state_dict(),
    }
    save_state(run / "checkpoint.pt", state)
