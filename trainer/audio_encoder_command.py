"""`python -m trainer audio-encoder`: pre-train nano's audio encoder."""

import argparse
from pathlib import Path

from engine.errors import UserError
from trainer.audio_encoder import pretrain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `audio-encoder`."""
    parser.add_argument("--corpus", type=Path, default=Path("data/speech"), help="default: data/speech")
    parser.add_argument("--out", type=Path, default=Path("runs/audio_encoder"), help="default: runs/audio_encoder")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32, help="clips of 4 s in a step (default 32)")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Train, and print the aperture's mean r on every held-out split."""
    if not (args.corpus / "train" / "index.json").is_file():
        raise UserError(
            f"No corpus in {args.corpus}: make it with python -m trainer synthesize {args.corpus}.", "corpus"
        )
    if args.steps < 1 or args.batch < 1:
        raise UserError(f"--steps and --batch must be 1 or more; got {args.steps} and {args.batch}.", "steps")
    scores = pretrain(args.corpus, args.out, steps=args.steps, batch=args.batch, seed=args.seed)
    for split, r in scores.items():
        print(f"{split:<15} aperture r {r:.3f}")
    return 0
