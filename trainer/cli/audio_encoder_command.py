"""`python -m trainer audio-encoder`: pre-train nano's audio encoder."""

import argparse
from pathlib import Path

from trainer.cli.arguments import positive_float, positive_int, seed
from trainer.subjects.audio_encoder import pretrain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `audio-encoder`."""
    parser.add_argument("--corpus", type=Path, default=Path("data/speech"), help="default: data/speech")
    parser.add_argument("--out", type=Path, default=Path("runs/audio_encoder"), help="default: runs/audio_encoder")
    parser.add_argument("--start", type=Path, help="an audio_encoder.safetensors to go on from; default: from nothing")
    parser.add_argument("--steps", type=positive_int, default=1500, help="default: 1500")
    parser.add_argument("--batch", type=positive_int, default=32, help="clips of 4 s in a step; default: 32")
    parser.add_argument("--seed", type=seed, default=0, help="default: 0")
    parser.add_argument(
        "--closure-weight",
        type=positive_float,
        default=1.0,
        help="what a frame counts in which lips close between sounds; default: 1",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and print the aperture's mean r on every held-out split."""
    scores = pretrain(
        args.corpus,
        args.out,
        steps=args.steps,
        batch=args.batch,
        seed=args.seed,
        start=args.start,
        closure_weight=args.closure_weight,
    )
    for split, r in scores.items():
        print(f"{split:<15} aperture r {r:.3f}")
    return 0
