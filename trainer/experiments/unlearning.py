"""SFT alone, SFT and one block of DPO, or cycles of NDPO and SFT: the same number of updates on the same clips.

The negatives are made by the model itself, with its real sampler, on voices and faces that nothing is measured on, and
labelled by a rule: a head whose pose jerks more than JERKY, root mean square. They are the whole clip and its prompt.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from engine.model.nano import NanoModel
from engine.nano_animator import encode_conditions
from engine.sampling.denoise import denoise
from engine.settings import Settings
from engine.variants import NANO
from trainer import ndpo
from trainer.evaluate.held_out import held_out_tracks, synthetic_reference
from trainer.evaluate.text_control import HeadMotion
from trainer.experiments.measures import head_jerk
from trainer.experiments.plan import Training
from trainer.experiments.short_training import recipe_of, train_on
from trainer.negatives import Negative, negatives_of
from trainer.recipes import NDPORecipe
from trainer.speech.corpus import Corpus

JERKY = 22.0
"""rad/s³; about half of the clips of nano's first edition are above it."""
CANDIDATES = 32
"""Clips that are made and judged before each block."""
CLIP_S = 4.0
LEAST_NEGATIVES = 4
_SPLITS = ("heldout_text",)
_FIRST_SEED = 500_000
"""Faces and noise far from those that are measured."""


@dataclass(frozen=True)
class Shared:
    """What trainings use in common: the small corpus, its features, a folder for runs, updates in all."""

    corpus: Path
    features: Path
    runs: Path
    steps: int


def unlearn(start: NanoModel, method: str, shared: Shared, seed: int) -> tuple[NanoModel, list[str]]:
    """`start` trained on by `method`, one of "sft", "dpo" and "ndpo"; returns the model and what happened.

    sft: all updates. dpo: half of them one block of DPO, half SFT behind it. ndpo: the same halves in two cycles, each
    on negatives of the model that it starts with.
    """
    if method == "sft":
        return _sft(start, shared, shared.steps, seed), [f"{shared.steps} SFT updates"]
    blocks = {"dpo": 1, "ndpo": 2}[method]
    each = shared.steps // (2 * blocks)
    model, told = start, []
    for number in range(blocks):
        negatives, judged = collect_negatives(model, seed * 10 + number)
        told.append(f"block {number + 1}: {judged} of {CANDIDATES} clips jerky")
        if judged < LEAST_NEGATIVES:
            told.append("too few to learn from, SFT instead")
            model = _sft(model, shared, 2 * each, seed + 100 * number)
            continue
        run = shared.runs / f"{method}_{start.checkpoint_sha256[:8]}_{each}_{seed}_{number}"
        recipe = NDPORecipe(steps=each, loss={"dpo": "dpo", "ndpo": "npo"}[method], seed=seed * 10 + number)
        sft = recipe_of(Training(schedule="uniform"), each, seed)
        block = ndpo.train(
            recipe, sft, model, negatives, corpus_folder=shared.corpus, run=run, features=shared.features
        )
        told.append(f"{block.step} updates of {recipe.loss}" + (f", {block.stopped_by}" if block.stopped_by else ""))
        model = _sft(NanoModel.load(block.model), shared, each, seed + 100 * number)
    return model, told


def _sft(model: NanoModel, shared: Shared, steps: int, seed: int) -> NanoModel:
    corpus = Corpus(shared.corpus / "train")
    trained, _ = train_on(
        model,
        Training(schedule="uniform"),
        None,
        corpus=corpus,
        features=shared.features,
        steps=steps,
        seed=seed,
    )
    # A block of Negative-DPO names the model that it begins with.
    trained.checkpoint_sha256 = f"{model.checkpoint_sha256[:8]} trained on for {steps} steps, seed {seed}"
    return trained


def collect_negatives(
    model: NanoModel, seed: int, settings: Settings = NANO.default_settings
) -> tuple[list[Negative], int]:
    """The windows of the jerky ones of CANDIDATES clips that `model` makes, and how many clips were jerky."""
    negatives: list[Negative] = []
    judged = 0
    for number, track in enumerate(held_out_tracks(_SPLITS, CANDIDATES, CLIP_S)):
        own = _FIRST_SEED + 1000 * seed + number
        reference = synthetic_reference(model, own)
        clip = encode_conditions(model, reference, track.wave, len(track.curves))
        latents = denoise(
            model.transformer,
            clip,
            settings,
            window_latent_frames=model.window_latent_frames,
            seed=own,
            watch=lambda done, clean: None,
        )
        landmarks_px = model.autoencoder.decode_motion(latents, reference).landmarks_px[: len(track.curves)]
        if head_jerk(HeadMotion.of(model.autoencoder, landmarks_px, reference).pose) <= JERKY:
            continue
        judged += 1
        bad = torch.ones(latents.shape[2])
        length = model.window_latent_frames
        negatives += negatives_of(clip, latents, bad, "", settings, window_latent_frames=length)
    return negatives, judged
