"""Keys and values of a clip's conditions, computed once and kept: text, picture and voice are the same at every step.

Knows nothing about what a condition means: the caller names each row's text, image and audio, and rows of one name
share what was computed. Names are the caller's own versions, never addresses of data; a condition that changes (PNG at
the borders of its phases) gets another name. What is kept is computed by the modules themselves, inside their own
blocks, so that offloading and layer-wise casting work as without it.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor, nn

Project = Callable[[Tensor], tuple[Tensor, ...]]
MODALITIES = ("text", "image", "audio")


class ConditionCache:
    """What one clip's conditions became, by module, modality and name. Safe to fill from several threads."""

    def __init__(self) -> None:
        self._kept: dict[tuple[nn.Module, str, Hashable], tuple[Tensor, ...]] = {}

    def rows(self, text: Sequence[Hashable], image: Sequence[Hashable], audio: Sequence[Hashable]) -> "CachedRows":
        """This cache as a forward of `len(text)` rows reads it, a name for each row and modality."""
        return CachedRows(self._kept, dict(zip(MODALITIES, (text, image, audio), strict=True)))

    def forget(self, is_stale: Callable[[Hashable], bool]) -> None:
        """Drop what was kept under the names for which `is_stale` holds: texts of a phase that is over."""
        self._kept = {key: value for key, value in self._kept.items() if not is_stale(key[2])}


class CachedRows:
    """The rows of one forward; see `ConditionCache.rows`."""

    def __init__(self, kept: dict[tuple[nn.Module, str, Hashable], tuple[Tensor, ...]], names: dict) -> None:
        self._kept, self._names = kept, names

    def get(self, module: nn.Module, modality: str, rows: Tensor, project: Project) -> tuple[Tensor, ...]:
        """`project(rows)` for the rows [B, ...], each computed once per name. Raises ValueError for a missing name."""
        names = self._names[modality]
        if len(names) != len(rows):
            raise ValueError(f"{len(rows)} rows of {modality}, but {len(names)} names")
        first = {name: index for index, name in reversed(list(enumerate(names)))}
        missing = [name for name in first if (module, modality, name) not in self._kept]
        if missing:
            projected = project(rows[[first[name] for name in missing]])
            for index, name in enumerate(missing):
                self._kept[module, modality, name] = tuple(part[index : index + 1] for part in projected)
        found = [self._kept[module, modality, name] for name in names]
        if len(first) == 1:
            return tuple(part.expand(len(names), *part.shape[1:]) for part in found[0])
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def projected(
    cached: CachedRows | None, module: nn.Module, modality: str, rows: Tensor, project: Project
) -> tuple[Tensor, ...]:
    """`project(rows)`, kept if there is a cache."""
    return project(rows) if cached is None else cached.get(module, modality, rows, project)
