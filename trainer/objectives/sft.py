"""Flow-matching supervised fine-tuning of nano.

x_t = (1 - sigma) * x0 + sigma * eps, target v = eps - x0, tau = 1000 * sigma; the loss is the mean squared error of the
predicted velocity, in which slots weigh more than points. Every draw is keyed by (seed, step), so a run that was killed
goes on to the same losses.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from engine.contract.errors import UserError
from engine.nano.encoders import NanoAudioEncoder
from engine.nano.model import NanoModel
from trainer.data.faces import mean_face, ridge_map
from trainer.data.files import writable_folder
from trainer.data.speech.corpus import Corpus
from trainer.data.synthetic_clips import VOCABULARY, ClipMaker
from trainer.loop.checkpoint import claim, left_in
from trainer.loop.ema import stage_decay
from trainer.loop.flow import FlowBatch, flow_loss, predict
from trainer.loop.processes import Processes
from trainer.loop.recipes import SEEN, SFTRecipe
from trainer.loop.training import Training
from trainer.loop.validation import Validating, Validation
from trainer.objectives.ndpo import HELD_OUT_SPLIT, held_out_batches
from trainer.subjects.audio_encoder import read_audio_encoder
from trainer.subjects.features import corpus_features
from trainer.subjects.nano_batches import NanoBatches, nano_trainee
from trainer.subjects.nano_validation import NanoClips

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
    known = {word: index + 1 for index, word in enumerate(start.text_encoder.vocabulary.words)}
    with torch.no_grad():
        for index, word in enumerate(model.text_encoder.vocabulary.words):
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
    features: Path | None = None,
    report: str | None = None,
    validate: Validating | None = None,
) -> Path:
    """Train, going on from `run`'s last checkpoint if there is one; returns the folder of the averaged model.

    `run` gets checkpoint.pt (resumable), loss.jsonl, and model/ in the layout the engine loads, all written every
    CHECKPOINT_EVERY steps and at the end of each stage, where the weights become their average. `start` is the model
    that a recipe which is trained on begins with. `stop_after` ends the run early, at that step. `features` is
    where the corpus's audio features are, or are to be kept; default: in `run`. `report` names a tracker to tell
    besides (`loop.processes`). `validate` has the corpus's held-out voices validated on (`loop.validation`).
    """
    if recipe.trained_on != (start is not None):
        needs = "begins with a model: give its folder" if recipe.trained_on else "begins with nothing: leave it out"
        raise UserError(f"The recipe {recipe.name} {needs} with --start.", "start")
    corpus = Corpus(corpus_folder / "train")
    if validate is not None:
        Corpus(corpus_folder / HELD_OUT_SPLIT)
    encoder = read_audio_encoder(audio_encoder, recipe.channels["audio"])
    writable_folder(run)
    made_of = {
        "recipe": recipe.as_dict(),
        "audio_encoder_sha256": hashlib.sha256(audio_encoder.read_bytes()).hexdigest(),
        "corpus_frames": len(corpus.curves),
        "start_sha256": start.checkpoint_sha256 if start else None,
    }
    clips = ClipMaker(corpus, recipe.seed)
    processes = Processes(report, run)
    with processes.first_alone():
        claim(run, made_of)
        model = build_model(recipe, clips, encoder, start)
        heard = corpus_features(
            model.audio_encoder.eval(), corpus, features or run / "features.npy", recipe.feature_versions, recipe.seed
        )
    batches = NanoBatches(recipe, clips, heard)
    trainee = nano_trainee(model, recipe)
    seen = SEEN if recipe.trained_on else 0
    training = Training(trainee, run, processes, weight_decay=recipe.weight_decay, seen=seen)
    validation = None if validate is None else _validation(validate, recipe, model, processes, corpus_folder, run)
    fit(
        training,
        recipe,
        lambda step: processes.part(batches.draw(model, step)),
        stop_after=stop_after,
        validation=validation,
    )
    return run / "model"


def _validation(  # noqa: PLR0917 (all of one training)
    asked: Validating, recipe: SFTRecipe, model: NanoModel, processes: Processes, corpus_folder: Path, run: Path
) -> Validation:
    """Of the corpus's held-out voices; their batches are those of Negative-DPO's guard."""
    with processes.first_alone():
        held_out = held_out_batches(recipe, model, corpus_folder, run)
    clips = None
    if asked.clips and processes.is_first:
        clips = NanoClips(model.description, Corpus(corpus_folder / HELD_OUT_SPLIT), asked.clips)
    return Validation(asked.every, [processes.part(batch) for batch in held_out], clips)


def fit(
    training: Training,
    recipe: SFTRecipe,
    draw: Callable[[int], FlowBatch],
    *,
    stop_after: int | None = None,
    validation: Validation | None = None,
) -> None:
    """All steps of `recipe`, from the last one saved, on what `draw` gives this process for each.

    Raises UserError where the run diverges, or what it draws from is damaged; it names the last good model.
    """
    processes = training.processes
    resumed = training.resume()
    first = resumed[0] if resumed else 0
    if validation is not None:
        validation.resume(training, first)
    last = recipe.steps if stop_after is None else min(stop_after, recipe.steps)
    hidden = None if processes.is_first else True
    for step in tqdm(range(first, last), initial=first, total=last, desc=recipe.name, disable=hidden):
        try:
            batch = draw(step)
        except UserError as error:
            raise UserError(f"{error.message} {left_in(training.run)}.", error.field) from error
        loss = flow_loss(predict(training.velocity, batch), batch, training.weights)
        number, stage = recipe.stage_at(step)
        training.ema.decay = stage_decay(recipe.old_share, stage.steps)
        norm = training.step(loss, _learning_rate(recipe, step), recipe.gradient_clip)
        mean = processes.mean(loss).item()
        if not (math.isfinite(mean) and math.isfinite(norm)):
            raise _diverged(training, step)
        ends = recipe.stage_ends_at(step)
        if ends:
            training.ema.copy_to(training.model)
        training.write_row({"step": step, "stage": number + 1, "loss": mean})
        if validation is not None and validation.is_due(step, step + 1 == last):
            validation.run(training, step)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == last or ends:
            training.save(step + 1, {"steps_done": step + 1})


def _diverged(training: Training, step: int) -> UserError:
    saved = training.saved_step()
    good = f"the last good model, of step {saved}, is {training.run / 'model'}" if saved else "nothing was saved yet"
    return UserError(
        f"The run diverged: at step {step} the loss or its gradient is no longer a number; {good}. Start a new run "
        "with a lower learning rate.",
        "run",
    )
