"""The list of issues: what a number key stands for. Read from a file that people edit.

Knows nothing about clips or labels.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.contract.errors import UserError
from engine.contract.places import ASSETS

ISSUES_PATH = ASSETS / "review_issues.yaml"
PLAYER_KEYS = frozenset(" ,.zxlioqrwegsun?")
"""Keys that the review page uses itself."""


class Issue(BaseModel):
    """One thing that can be wrong, and the key that says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern="^[a-z0-9][a-z0-9-]*$")
    key: str = Field(min_length=1, max_length=1)
    phase: Literal["motion", "detail"]
    title: str = Field(min_length=1)


def read_issues(path: Path = ISSUES_PATH) -> dict[str, Issue]:
    """The issues by id, in the file's order. Raises UserError that says what is wrong with the file."""
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))["issues"]
        issues = [Issue.model_validate(entry) for entry in listed]
    except OSError as error:
        raise UserError(f"The list of issues {path} cannot be read ({error.strerror}); put it back.") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{path.name} must be YAML with a list named issues; got {str(error)[:80]!r}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    for name in ("id", "key"):
        used = Counter(getattr(issue, name) for issue in issues)
        twice = [value for value, count in used.items() if count > 1]
        if twice:
            raise UserError(f"{path.name}: the {name} {twice[0]!r} is used twice; every issue needs its own.")
    taken = [issue for issue in issues if issue.key.lower() in PLAYER_KEYS]
    if taken:
        raise UserError(f"{path.name}: the key {taken[0].key!r} of {taken[0].id} belongs to the player; take another.")
    return {issue.id: issue for issue in issues}
