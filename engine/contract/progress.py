"""What a running job tells its watcher: the stage, how far, the time left, and a preview while it samples.

Torch-free. A job is cancelled by raising `Cancelled` from the callback: it is called between forwards of the
transformer and between decoded frames, so nothing else has to ask.
"""

import time
from collections.abc import Callable
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Stage = Literal["loading", "reading", "encoding", "sampling", "decoding", "writing", "done"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Progress(BaseModel):
    """One report. `done` of `total` units of `stage` are finished; `fraction` is of the whole job, in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Stage
    done: int = Field(ge=0)
    total: int = Field(ge=0)
    fraction: float = Field(ge=0.0, le=1.0)
    seconds_left: float | None = None
    note: str | None = Field(default=None, description="Something to know at once, such as the plan for the memory.")
    preview: bytes | None = Field(default=None, repr=False, description="An encoded WebP picture, maybe animated.")


ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The callback of a caller that does not watch."""


class ProgressMeter:
    """Turns the units of each stage into reports of the whole job, with the time left.

    `expected_s` is a guess of every stage's seconds, in the order they run. Only the proportions need to be right: the
    time left is the guess for what remains, times the pace measured so far.
    """

    def __init__(
        self, callback: ProgressCallback, expected_s: dict[Stage, float], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._callback = callback
        self._expected_s = expected_s
        self._clock = clock
        self._last = clock()
        self._stage: Stage | None = None
        self._fraction = 0.0
        self.seconds: dict[str, float] = {}
        """Wall time spent in each stage so far."""

    def expect(self, expected_s: dict[Stage, float]) -> None:
        """Better guesses, once the media are known. The reported fraction never falls because of them."""
        self._expected_s = self._expected_s | expected_s

    def report(self, stage: Stage, done: float, total: int, preview: bytes | None = None) -> None:
        """`done` of `total` units of `stage` are finished; every stage before it is."""
        self._keep_time(stage)
        stages = list(self._expected_s)
        before_s = sum(self._expected_s[name] for name in stages[: stages.index(stage)])
        done_s = before_s + self._expected_s[stage] * (done / total if total else 1.0)
        total_s = sum(self._expected_s.values())
        self._fraction = min(1.0, max(self._fraction, done_s / total_s))
        # One second at the expected pace stands in for measurements while there are hardly any.
        pace = (sum(self.seconds.values()) + 1.0) / (done_s + 1.0)
        self._callback(
            Progress(
                stage=stage,
                done=int(done),
                total=total,
                fraction=self._fraction,
                seconds_left=round(max(0.0, total_s - done_s) * pace, 1),
                preview=preview,
            )
        )

    def tell(self, stage: Stage, note: str) -> None:
        """Say `note` while `stage` goes on."""
        self._callback(Progress(stage=stage, done=0, total=1, fraction=self._fraction, note=note))

    def finish(self) -> None:
        """The job is done."""
        self._keep_time(None)
        self._callback(Progress(stage="done", done=1, total=1, fraction=1.0, seconds_left=0.0))

    def _keep_time(self, stage: Stage | None) -> None:
        now = self._clock()
        if self._stage is not None:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._last
        self._stage, self._last = stage, now
