"""What an annotator can say about an item, key by key, and what the keys add up to.

Pure: knows nothing about tables or pages. A clip gets marks (issues with a span, a region, a severity) and ends as
good, bad or skipped; of a pair one side is preferred, or neither, or it is skipped. An undo takes back the last key.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.contract.errors import UserError
from engine.contract.records import NegativeIssue
from engine.contract.request import Box
from studio.review.issues import Issue

Kind = Literal["mark", "unmark", "note", "good", "bad", "prefer", "skip", "undo"]
CLIP_KINDS = frozenset({"mark", "unmark", "note", "good", "bad", "skip", "undo"})
PAIR_KINDS = frozenset({"note", "prefer", "skip", "undo"})
FINISHING = frozenset({"good", "bad", "prefer", "skip"})
"""What ends an item, for this annotator."""
SKIPPED = "skip"
JUDGING = FINISHING - {SKIPPED}
"""What is only said of something that was played to its end."""
PLAYED = "played"
"""In an event's data: the annotator had played the item to its end by then."""
SAYINGS_APART = "|"


class Mark(BaseModel):
    """An issue as it was marked. No span is the whole clip, no region the whole frame."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Literal[1, 2, 3] = 2
    span_s: tuple[float, float] | None = None
    region: Box | None = None

    @model_validator(mode="after")
    def _spans_something(self) -> Self:
        if self.span_s is not None and not 0 <= self.span_s[0] < self.span_s[1] < math.inf:
            raise ValueError("a span is [in, out) with 0 <= in < out")
        if self.region is not None and not (self.region[0] < self.region[2] and self.region[1] < self.region[3]):
            raise ValueError("a region is left, top, right, bottom with left < right and top < bottom")
        return self


class KeyPress(BaseModel):
    """One key as the page sends it. The client's id makes sending it twice the same as once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: str = Field(min_length=8, max_length=64)
    item: int
    kind: Kind
    issue: str | None = None
    mark: Mark | None = None
    text: str | None = Field(default=None, max_length=2000)
    choice: Literal["left", "right", "tie"] | None = None
    played: bool = False


@dataclass
class Answer:
    """What an annotator's effective keys on one item add up to; `verdict` is empty until it is finished."""

    marks: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    verdict: str = ""

    @property
    def finished(self) -> bool:
        """Whether the annotator is through with the item, for now."""
        return bool(self.verdict)

    @property
    def counts(self) -> bool:
        """Whether it is one of the answers that the item wants."""
        return self.finished and self.verdict != SKIPPED

    @property
    def issues(self) -> str:
        """The ids of the issues, sorted, with spaces between."""
        return " ".join(sorted(self.marks))

    def take(self, kind: str, data: dict[str, Any]) -> None:
        """The next effective key."""
        if kind == "mark":
            self.marks.pop(data["issue"], None)
            self.marks[data["issue"]] = data["mark"]
        elif kind == "unmark":
            self.marks.pop(data["issue"], None)
        elif kind == "note":
            self.note = data["text"]
        else:
            self.verdict = data.get("verdict", kind)


def add_up(keys: Iterable[tuple[str, dict[str, Any]]]) -> Answer:
    """The answer that effective keys, (kind, data) in order, make."""
    answer = Answer()
    for kind, data in keys:
        answer.take(kind, data)
    return answer


def said(answers: Iterable[tuple[str, str]]) -> str:
    """What several answers, each a verdict and its issues, say of one item, in an order that tells nothing."""
    return SAYINGS_APART.join(sorted(f"{verdict} {issues}".strip() for verdict, issues in answers))


def read_key_press(values: Any) -> KeyPress:
    """The key press that `values` describe. Raises UserError."""
    try:
        return KeyPress.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{name or 'event'}: {message}; got {str(first['input'])[:60]!r}.", name) from error


def data_of(
    press: KeyPress, so_far: Answer, issues: dict[str, Issue], *, pair: bool, swapped: bool, seen: bool = False
) -> dict[str, Any]:
    """What is kept of a key press on an item whose answer is `so_far`. Raises UserError where it makes no sense.

    `seen` says that the annotator has played it to its end before, in whatever session.
    """
    kind = press.kind
    if kind not in (PAIR_KINDS if pair else CLIP_KINDS):
        raise UserError(f"{kind} is not for {'a pair' if pair else 'a clip'}; choose another key.", "kind")
    if so_far.finished:
        raise UserError("This one is finished already; undo first.", "kind")
    if kind in JUDGING and not (press.played or seen):
        raise UserError("Play it to its end before you answer.", "played")
    if kind in ("mark", "unmark"):
        if press.issue not in issues:
            raise UserError(f"Unknown issue {press.issue!r}: the list has {', '.join(issues)}.", "issue")
        if kind == "unmark":
            return {"issue": press.issue}
        return {"issue": press.issue, "mark": (press.mark or Mark()).model_dump(mode="json")}
    if kind == "note":
        return {"text": press.text or ""}
    if kind == "good" and so_far.marks:
        raise UserError("A clip with marks is not good: take them off, or finish it as it is.", "kind")
    if kind == "bad" and not so_far.marks:
        raise UserError("Say first what is wrong with it: press an issue's key.", "kind")
    if kind == "prefer":
        if press.choice is None:
            raise UserError("Choose left, right or the same.", "choice")
        return {"choice": press.choice, "verdict": side_of(press.choice, swapped=swapped)}
    return {}


def is_swapped(item_id: int, annotator: str) -> bool:
    """Whether this annotator sees the pair's sides the other way round: a coin that falls the same way every time."""
    return bool(hashlib.sha256(f"{item_id}:{annotator}".encode()).digest()[0] & 1)


def side_of(choice: str, *, swapped: bool) -> str:
    """The pair's side "a", "b" or "tie" that was meant by "left", "right" or "tie"."""
    if choice == "tie":
        return "tie"
    return "a" if (choice == "left") != swapped else "b"


def negative_issue(issue: Issue, mark: Mark, num_frames: int, fps: float) -> NegativeIssue:
    """The mark as the trainer reads it: every frame that the span touches, of the frames that there are."""
    start_s, end_s = mark.span_s or (0.0, num_frames / fps)
    first = min(math.floor(start_s * fps + 1e-6), num_frames - 1)
    stop = max(first + 1, min(math.ceil(end_s * fps - 1e-6), num_frames))
    return NegativeIssue(
        id=issue.id,
        phase=issue.phase,
        frames=(first, stop),
        region=mark.region,
        severity=mark.severity,
    )
