"""What a change of the settings does to a second of a clip, as numbers: the mouth, the head, and what chance does."""

from dataclasses import dataclass
from statistics import fmean

SAME_SHARE = 0.03
"""Of the mouth's opening: what is nearer than this is called the same."""
SAME_HEAD_MM = 0.5


@dataclass(frozen=True)
class Seen:
    """A face over a few frames, 25 a second, in mm of a face whose outer eye corners are 90 apart."""

    opening_mm: tuple[float, ...]
    """Between the inner lips."""
    head_mm: tuple[tuple[float, float], ...]
    """Where the root of the nose stands, x and y."""

    def mouth_apart_mm(self, other: "Seen") -> float:
        """How far the openings differ in a frame, on average."""
        return fmean(abs(a - b) for a, b in zip(self.opening_mm, other.opening_mm, strict=False))

    def head_apart_mm(self, other: "Seen") -> float:
        """How far the heads stand apart in a frame, on average."""
        pairs = zip(self.head_mm, other.head_mm, strict=False)
        return fmean(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5 for a, b in pairs)


@dataclass(frozen=True)
class Comparison:
    """One seed and one moment under two settings; `chance` is the first of them under another seed."""

    mp4: bytes
    """Both faces without sound, before on the left, after on the right, so that they play in step."""
    before: Seen
    after: Seen
    chance: Seen

    @property
    def wider(self) -> float:
        """By which share the mouth is open wider after the change, on average; negative for less."""
        before = fmean(self.before.opening_mm)
        return fmean(self.after.opening_mm) / before - 1 if before > 0 else 0.0

    @property
    def mouth_is_same(self) -> bool:
        """Whether the mouth is as open as before."""
        return abs(self.wider) < SAME_SHARE

    @property
    def head_moves_mm(self) -> float:
        """How far the head stands from where it stood, on average."""
        return self.before.head_apart_mm(self.after)

    @property
    def is_below_chance(self) -> bool:
        """Whether another seed changes both mouth and head by more."""
        mouth, head = self.before.mouth_apart_mm(self.after), self.head_moves_mm
        return mouth < self.before.mouth_apart_mm(self.chance) and head < self.before.head_apart_mm(self.chance)
