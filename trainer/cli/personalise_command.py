"""`python -m trainer personalise VIDEO`: nano's motion after one person's, from a video of them talking."""

import argparse
from pathlib import Path

from engine.contract.errors import UserError
from engine.nano.model import NanoModel
from trainer.cli.arguments import nano_folder, positive_int, seed
from trainer.objectives.personalise import personalise, read_talk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `personalise`."""
    parser.add_argument("video", type=Path, metavar="VIDEO", help="somebody talking, one face, 6 s to 10 minutes")
    parser.add_argument("--model", default="nano", help="what to begin with: nano, or the folder of one")
    parser.add_argument(
        "--run", dest="folder", type=Path, default=None, help="default: runs/NAME; resumed if it exists"
    )
    parser.add_argument("--steps", type=positive_int, default=300, help="default: 300")
    parser.add_argument("--seed", type=seed, default=0)


def run(args: argparse.Namespace) -> int:
    """Train, and print where the model is and whether it helped."""
    if not args.video.is_file():
        raise UserError(f"There is no video {args.video}.", "video")
    start = NanoModel.load(nano_folder(args.model, "personalise"))
    folder = args.folder or Path("runs", args.video.stem)
    model, before, after = personalise(read_talk(args.video, start), start, folder, steps=args.steps, seed=args.seed)
    print(f"Loss on the video's last fifth, which was not learned from: {before:.4f} before, {after:.4f} after.")
    if after >= before:
        print("It did not get better: the video may be too short, or too unlike what nano can move.")
    print(model)
    return 0
