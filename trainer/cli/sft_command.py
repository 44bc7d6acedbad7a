"""`python -m trainer sft`: train a model by flow matching, or go on with a run that was stopped."""

import argparse
from dataclasses import replace
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.variants import NANO_FOLDER, find_variant
from engine.nano.model import NanoModel
from trainer.cli.arguments import nano_folder, positive_int, seed, whole_number
from trainer.loop.processes import REPORTS
from trainer.loop.recipes import RECIPES, released_soup
from trainer.loop.validation import Validating
from trainer.objectives.sft import train

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
    released = parser.add_argument_group(f"for {RELEASED}, which trains a released model; --start names it")
    released.add_argument("--data", type=Path, default=None, help="what python -m trainer prepare made")
    released.add_argument("--validation-data", type=Path, default=None, help="the same of videos never trained on")
    released.add_argument("--batch", type=positive_int, default=8, help="clips a step over all processes; default: 8")
    released.add_argument("--lora", type=positive_int, default=None, metavar="RANK", help="default: all weights")
    released.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third more time")


def run(args: argparse.Namespace) -> int:
    """Train, and print where the model is."""
    if args.recipe == RELEASED:
        return _released(args)
    if not args.audio_encoder.is_file():
        raise UserError(
            f"No audio encoder at {args.audio_encoder}: make it with python -m trainer audio-encoder, or name a "
            f"model's own with --audio-encoder, like {NANO_FOLDER / 'audio_encoder.safetensors'}.",
            "audio_encoder",
        )
    recipe = RECIPES[args.recipe]()
    if args.seed is not None:
        recipe = replace(recipe, seed=args.seed)
    start = NanoModel.load(nano_folder(args.start, f"{recipe.name} (--start)")) if args.start else None
    print(
        train(
            recipe,
            args.corpus,
            args.audio_encoder,
            args.folder or Path("runs", recipe.name),
            start=start,
            report=args.report,
            validate=Validating(args.validate_every, args.validation_clips) if args.validate_every else None,
        )
    )
    return 0


def _released(args: argparse.Namespace) -> int:
    from trainer.objectives.released_sft import ReleasedTraining, train_released
    from trainer.subjects.released_validation import ReleasedValidating

    if args.data is None or args.start is None:
        raise UserError(f"{RELEASED} needs --start, preview, flash or a folder, and --data, what prepare made.", "data")
    variant = find_variant(args.start)
    if variant.is_nano:
        raise UserError(f"{RELEASED} trains a released model, {args.start} is a nano: take another recipe.", "start")
    recipe = released_soup()
    if args.seed is not None:
        recipe = replace(recipe, seed=args.seed)
    run_folder = args.folder or Path("runs", RELEASED)
    if (args.validate_every is None) != (args.validation_data is None):
        raise UserError("Validation needs both --validate-every and --validation-data.", "validation_data")
    asked = ReleasedTraining(
        variant, args.data, run_folder, args.batch, args.lora or 0, args.gradient_checkpointing, args.report
    )
    validate = None
    if args.validate_every:
        validate = ReleasedValidating(args.validate_every, args.validation_clips, args.validation_data)
    print(train_released(asked, recipe, validate=validate))
    return 0
