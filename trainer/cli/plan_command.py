"""`python -m trainer plan`: how much memory each way of training a released model takes, and which GPUs hold it."""

import argparse

from engine.contract.errors import UserError
from engine.sampling.tasks import to_latent_frames
from trainer.cli.arguments import positive_int
from trainer.loop.memory_plan import Geometry, Plan, table

LATENT_PX = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `plan`."""
    parser.add_argument("--frames", type=positive_int, default=113, help="of a clip; default: 113")
    parser.add_argument("--size-px", type=positive_int, default=768, help="side of the square of as many pixels")
    parser.add_argument("--clips", type=positive_int, default=1, help="of a step in each process; default: 1")
    parser.add_argument("--ndpo", action="store_true", help="with as many negatives beside, and a frozen reference")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    try:
        latent_frames = to_latent_frames(args.frames)
    except ValueError as error:
        raise UserError(f"{error}.", "frames") from None
    side = args.size_px // LATENT_PX
    plan = Plan(
        clips=args.clips * (2 if args.ndpo else 1),
        latent_frames=latent_frames,
        latent_height=side,
        latent_width=side,
        reference="copy" if args.ndpo else "none",
    )
    print(table(Geometry(), plan))
    return 0
