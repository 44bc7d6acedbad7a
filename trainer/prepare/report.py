"""The yield of a preparation: how many videos and clips each stage was given, turned down and for which reasons."""

from collections import Counter
from dataclasses import dataclass, field

from engine.contract.variants import FPS
from trainer.prepare.rows import Row


@dataclass(frozen=True)
class Yield:
    """`rows` are those of the manifest: rejected videos, and clips. `missing` are listed videos that are not there."""

    rows: list[Row]
    stages: tuple[str, ...]
    missing: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> list[Row]:
        """The clips that are trained on."""
        return [row for row in self.rows if row["status"] == "accepted"]

    @property
    def hours(self) -> float:
        """Of accepted clips."""
        return sum(row["frames"] for row in self.accepted) / FPS / 3600

    def text(self) -> str:
        """A Markdown table of stages and reasons."""
        lines = ["| stage | reason | rejected | of those that came so far |", "|---|---|---|---|"]
        left = len(self.rows)
        for stage in self.stages:
            reasons = Counter(row["reason"] for row in self.rows if row["stage"] == stage)
            for reason, count in sorted(reasons.items()):
                lines.append(f"| {stage} | {reason} | {count} | {count / left:.1%} |")
            left -= sum(reasons.values())
        lines.append(f"| | **accepted** | **{len(self.accepted)}** | **{self.hours:.3f} h** |")
        without = sum(not row["caption"] for row in self.accepted)
        notes = [f"{without} accepted clips have no caption."] if without else []
        if self.missing:
            shown = ", ".join(self.missing[:5]) + (", …" if len(self.missing) > 5 else "")
            notes.append(f"{len(self.missing)} listed videos are not there: {shown}.")
        return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"
