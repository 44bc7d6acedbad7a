"""Flow-matching supervised fine-tuning of any `trainer.subjects.subject.Subject`.

x_t = (1 - sigma) * x0 + sigma * eps, target v = eps - x0, tau = 1000 * sigma; the loss is the mean squared error of the
predicted velocity, each cell of the latents weighing as its subject says. Every draw is keyed by (seed, step), so a run
that was killed goes on to the same losses.
"""

import math
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engine.contract.errors import UserError
from trainer.data.files import writable_folder
from trainer.loop.checkpoint import claim, left_in
from trainer.loop.ema import stage_decay
from trainer.loop.flow import flow_loss, predict
from trainer.loop.processes import Processes
from trainer.loop.recipes import SEEN, SFTRecipe
from trainer.loop.training import Training
from trainer.loop.validation import Validating, Validation
from trainer.subjects.subject import Draw, Subject

CHECKPOINT_EVERY = 250


def _learning_rate(recipe: SFTRecipe, step: int) -> float:
    """Warm-up, then half a cosine down to the final rate."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    share = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    fall = (1 + np.cos(np.pi * min(1.0, share))) / 2
    return recipe.final_learning_rate + (recipe.learning_rate - recipe.final_learning_rate) * float(fall)


def train(
    recipe: SFTRecipe,
    subject: Subject,
    run: Path,
    *,
    lora_rank: int = 0,
    stop_after: int | None = None,
    report: str | None = None,
    validate: Validating | None = None,
) -> Path:
    """Train, going on from `run`'s last checkpoint if there is one; returns the folder of the averaged model.

    `run` gets checkpoint.pt (resumable), loss.jsonl, and model/ in the layout the engine loads, all written every
    CHECKPOINT_EVERY steps and at the end of each stage, where the weights become their average. All weights are
    trained, or LoRA of rank `lora_rank`. `stop_after` ends the run early, at that step. `report` names a tracker to
    tell besides (`loop.processes`). `validate` has what is held out validated on (`loop.validation`). Raises UserError
    for what cannot be trained on, before anything is written.
    """
    if recipe.trained_on != (subject.start_sha256 is not None):
        needs = "begins with a model: give its folder" if recipe.trained_on else "begins with nothing: leave it out"
        raise UserError(f"The recipe {recipe.name} {needs} with --start.", "start")
    processes = Processes(report, run)
    recipe = subject.ready(recipe, processes.count, measured=validate is not None)
    writable_folder(run)
    made_of = {"recipe": recipe.as_dict(), "start_sha256": subject.start_sha256, **subject.learns_from()}
    with processes.first_alone():
        claim(run, made_of | ({"lora": lora_rank} if lora_rank else {}))
        trainee = subject.built(recipe, lora_rank)
        draw = subject.batches(recipe, trainee, run, processes)
        held_out = [] if validate is None else subject.held_out(recipe, trainee, run, processes)
    validation = None
    if validate is not None:
        makes = validate.clips and processes.is_first
        clips = subject.clips(trainee, validate.clips, processes.device) if makes else None
        validation = Validation(validate.every, held_out, clips)
    seen = SEEN if recipe.trained_on else 0
    training = Training(trainee, run, processes, weight_decay=recipe.weight_decay, seen=seen)
    fit(training, recipe, draw, stop_after=stop_after, validation=validation)
    return run / "model"


def fit(
    training: Training,
    recipe: SFTRecipe,
    draw: Draw,
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
