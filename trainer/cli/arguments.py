"""What the sub-commands accept as a number or a folder, said in one sentence where it is something else.

The number readers are for argparse's `type=`, which names the flag.
"""

import argparse
import math
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.variants import find_variant


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
