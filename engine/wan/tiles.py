"""Overlapping tiles that cover a frame, and joining what was made of each, so that the memory is that of one tile.

Knows nothing about autoencoders. Where tiles overlap, what was made of them is cross-faded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """Rows [top, bottom) and columns [left, right) of a frame."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, frames: Tensor) -> Tensor:
        """This part of frames [..., H, W]."""
        return frames[..., self.top : self.bottom, self.left : self.right]

    def times(self, scale: float) -> "Tile":
        """The same part of a frame of another size."""
        return Tile(*(round(scale * edge) for edge in (self.top, self.bottom, self.left, self.right)))


def cover(height: int, width: int, side: int, overlap: int) -> list[Tile]:
    """Tiles of at most `side` that cover a frame of `height` times `width`, neighbours sharing at least `overlap`."""
    return [
        Tile(top, min(top + side, height), left, min(left + side, width))
        for top in _starts(height, side, overlap)
        for left in _starts(width, side, overlap)
    ]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Where tiles begin along an edge; the last is moved back to end with it."""
    if not 0 <= overlap < side:
        raise ValueError(f"overlap must be in [0, side); got {overlap} of {side}")
    return [*range(0, max(0, length - side), side - overlap), max(0, length - side)]


def join(tiles: Sequence[Tile], made: Callable[[int], Tensor], overlap: int) -> Tensor:
    """One frame [..., H, W] of what `made(index)` makes of each of `tiles`, made one after the other."""
    height, width = max(tile.bottom for tile in tiles), max(tile.right for tile in tiles)
    total: Tensor | None = None
    weights = torch.zeros(height, width)
    for index, tile in enumerate(tiles):
        part = made(index)
        if total is None:
            total = part.new_zeros(*part.shape[:-2], height, width)
            weights = weights.to(part)
        rows = _ramp(tile.top, tile.bottom, height, overlap).to(part)
        weight = rows[:, None] * _ramp(tile.left, tile.right, width, overlap).to(part)
        tile.of(total).add_(part * weight)
        tile.of(weights).add_(weight)
    assert total is not None
    return total.div_(weights)


def _ramp(start: int, stop: int, length: int, overlap: int) -> Tensor:
    """Weights of a tile along an edge: rising from its neighbour before it, falling to the one behind it, never 0."""
    weight = torch.ones(stop - start)
    rise = (torch.arange(overlap) + 0.5) / overlap if overlap else torch.ones(0)
    rise = rise[: len(weight)]
    if start > 0:
        weight[: len(rise)] *= rise
    if stop < length:
        weight[len(weight) - len(rise) :] *= rise.flip(0)
    return weight
