"""What the sub-commands accept as a number or a folder, said in one sentence where it is something else.

The number readers are for argparse's `type=`, which names the flag.
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from engine.contract.errors import UserError
from engine.contract.variants import find_variant

if TYPE_CHECKING:
    from trainer.subjects.released_subject import ReleasedSubject


def positive_int(text: str) -> int:
    """A whole number from 1 up."""
    return _whole(text, 1)


def whole_number(text: str) -> int:
    """A whole number from 0 up."""
    return _whole(text, 0)


def seed(text: str) -> int:
    """A whole number that every generator of random numbers takes, also with a step's number beside it."""
    number = _whole(text, 0)
    if number >= 2**31:
        raise argparse.ArgumentTypeError(f"must be below 2147483648; got {text!r}")
    return number


def positive_float(text: str) -> float:
    """A finite number above 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0; got {text!r}")
    return number


def forget_budget(text: str) -> float:
    """How far Negative-DPO may push, 0.05 to 1."""
    number = _number(text)
    if not 0.05 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0.05 and 1, 0.1 is usual; got {text!r}")
    return number


def nano_folder(model: str, command: str) -> Path:
    """The folder of `model`, a nano. Raises UserError for another model, which `command` does not take."""
    variant = find_variant(model)
    if not variant.is_nano:
        raise UserError(f"{command} takes nano, or a folder of one; {model} is {variant.title}.", "model")
    return variant.folder


def add_released(parser: argparse.ArgumentParser) -> None:
    """The arguments of those commands that train a released model, too."""
    released = parser.add_argument_group("for the released models, whose real clips are prepared ones")
    released.add_argument("--data", type=Path, default=None, help="what python -m trainer prepare made")
    released.add_argument("--validation-data", type=Path, default=None, help="the same of videos never trained on")
    released.add_argument("--batch", type=positive_int, default=8, help="real clips a step; default: 8")
    released.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third more time")


def released_subject(args: argparse.Namespace, model: str) -> "ReleasedSubject":
    """The released model `model` with the clips that the arguments of `add_released` name."""
    from trainer.subjects.released_subject import ReleasedSubject

    if args.data is None:
        raise UserError(
            f"{model} learns from prepared clips: give --data, what python -m trainer prepare made.", "data"
        )
    variant = find_variant(model)
    return ReleasedSubject(variant, args.data, args.validation_data, args.batch, args.gradient_checkpointing)


def _number(text: str) -> float:
    """`text` as a number; not a number where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more; got {text!r}")
    return int(text)
