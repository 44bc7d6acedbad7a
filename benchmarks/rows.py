"""What a proof is made of: named rows that are measured one by one, and the page they become."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.evaluate.proof_rows import Row


@dataclass(frozen=True)
class Place:
    """Where the examples are, and where videos and contact sheets go."""

    examples: Path
    videos: Path


Measure = Callable[[Place], list[Row]]


def at_most(what: str, measured: float, limit: float, style: str = ".2f", *, unit: str = "", more: str = "") -> Row:
    """A row whose number must not exceed `limit`; `more` is said behind it."""
    return Row(what, f"≤ {limit:g}{unit}", f"{measured:{style}}{unit}{more}", bool(measured <= limit))


def at_least(what: str, measured: float, limit: float, style: str = ".2f", *, unit: str = "", more: str = "") -> Row:
    """A row whose number must reach `limit`; `more` is said behind it."""
    return Row(what, f"≥ {limit:g}{unit}", f"{measured:{style}}{unit}{more}", bool(measured >= limit))


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *lines])
