"""What PNG's two groups of negative prompts say, from the editable file. Torch-free."""

from functools import cache
from typing import Literal

import yaml

from engine.contract.errors import UserError
from engine.contract.places import ASSETS

NEGATIVES_FILE = ASSETS / "negatives.yaml"


@cache
def negative_words(family: Literal["released", "nano"]) -> dict[str, str]:
    """The groups' prompts, `motion` and `detail`, from the editable file. Raises UserError where it cannot be read."""
    try:
        groups = yaml.safe_load(NEGATIVES_FILE.read_text(encoding="utf-8"))[family]
        return {name: ", ".join(groups[name]) for name in ("motion", "detail")}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"{NEGATIVES_FILE.name} cannot be read ({type(error).__name__}: {error}): it needs the groups motion and "
            f"detail under {family}.",
            "png.mode",
        ) from error
