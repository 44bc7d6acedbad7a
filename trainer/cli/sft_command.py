"""`python -m trainer sft`: train a model by flow matching, or go on with a run that was stopped."""

import argparse
from dataclasses import replace
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.variants import NANO_FOLDER, find_variant
from trainer.cli.arguments import add_released, nano_folder, positive_int, released_subject, seed, whole_number
from trainer.loop.processes import REPORTS
from trainer.loop.recipes import RECIPES, SFTRecipe, released_soup
from trainer.loop.validation import Validating
from trainer.objectives.sft import train
from trainer.subjects.nano_subject import NanoSubject
from trainer.subjects.subject import Subject

RELEASED = "released-soup"
VALIDATED = "measure the loss on what is held out, and make clips in RUN/validation, so often; default: never"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sft`."""
    parser.add_argument("--recipe", choices=sorted([*RECIPES, RELEASED]), default="nano")
    parser.add_argument("--corpus", type=Path, default=Path("data/speech"), help="default: data/speech")
    encoder = Path("runs/audio_encoder/audio_encoder.safetensors")
    parser.add_argument("--audio-encoder", type=Path, default=encoder, help=f"default: {encoder}")
    parser.add_argument(
        "--run", dest="folder", type=Path, default=None, help="default: runs/RECIPE; resumed if it exists"
    )
    parser.add_argument(
        "--start", default=None, help="the model that a recipe which is trained on begins with: nano or a folder"
    )
    parser.add_argument("--seed", type=seed, default=None, help="instead of the recipe's")
    parser.add_argument("--report", choices=REPORTS, default=None, help="a tracker to tell besides loss.jsonl")
    parser.add_argument("--validate-every", type=positive_int, default=None, metavar="STEPS", help=VALIDATED)
    parser.add_argument("--validation-clips", type=whole_number, default=2, help="made each time; default: 2")
    parser.add_argument("--lora", type=positive_int, default=None, metavar="RANK", help="default: all weights")
    add_released(parser)


def run(args: argparse.Namespace) -> int:
    """Train, and print where the model is."""
    recipe = released_soup() if args.recipe == RELEASED else RECIPES[args.recipe]()
    if args.seed is not None:
        recipe = replace(recipe, seed=args.seed)
    subject = _released(args) if args.recipe == RELEASED else _nano(args, recipe)
    print(
        train(
            recipe,
            subject,
            args.folder or Path("runs", recipe.name),
            lora_rank=args.lora or 0,
            report=args.report,
            validate=Validating(args.validate_every, args.validation_clips) if args.validate_every else None,
        )
    )
    return 0


def _nano(args: argparse.Namespace, recipe: SFTRecipe) -> Subject:
    if not args.audio_encoder.is_file():
        raise UserError(
            f"No audio encoder at {args.audio_encoder}: make it with python -m trainer audio-encoder, or name a "
            f"model's own with --audio-encoder, like {NANO_FOLDER / 'audio_encoder.safetensors'}.",
            "audio_encoder",
        )
    if args.start is None:
        return NanoSubject(args.corpus, audio_encoder=args.audio_encoder)
    folder = nano_folder(args.start, f"{recipe.name} (--start)")
    return NanoSubject.begun_with(folder, args.corpus, audio_encoder=args.audio_encoder)


def _released(args: argparse.Namespace) -> Subject:
    if args.start is None:
        raise UserError(f"{RELEASED} needs --start, preview, flash or a folder, and --data, what prepare made.", "data")
    if find_variant(args.start).is_nano:
        raise UserError(f"{RELEASED} trains a released model, {args.start} is a nano: take another recipe.", "start")
    if (args.validate_every is None) != (args.validation_data is None):
        raise UserError("Validation needs both --validate-every and --validation-data.", "validation_data")
    return released_subject(args, args.start)
