"""`python -m trainer sft`: train a model by flow matching, or go on with a run that was stopped."""

import argparse
from dataclasses import replace
from pathlib import Path

from engine.errors import UserError
from engine.model.nano import NanoModel
from trainer.arguments import seed
from trainer.recipes import RECIPES
from trainer.sft import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sft`."""
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="nano")
    parser.add_argument("--corpus", type=Path, default=Path("data/speech"), help="default: data/speech")
    encoder = Path("runs/audio_encoder/audio_encoder.safetensors")
    parser.add_argument("--audio-encoder", type=Path, default=encoder, help=f"default: {encoder}")
    parser.add_argument(
        "--run", dest="folder", type=Path, default=None, help="default: runs/RECIPE; resumed if it exists"
    )
    parser.add_argument(
        "--start", type=Path, default=None, help="the model that a recipe which is trained on begins with"
    )
    parser.add_argument("--seed", type=seed, default=None, help="instead of the recipe's")


def run(args: argparse.Namespace) -> int:
    """Train, and print where the model is."""
    if not args.audio_encoder.is_file():
        raise UserError(
            f"No audio encoder at {args.audio_encoder}: make it with python -m trainer audio-encoder.", None
        )
    recipe = RECIPES[args.recipe]()
    if args.seed is not None:
        recipe = replace(recipe, seed=args.seed)
    start = NanoModel.load(args.start) if args.start else None
    print(train(recipe, args.corpus, args.audio_encoder, args.folder or Path("runs", recipe.name), start=start))
    return 0
