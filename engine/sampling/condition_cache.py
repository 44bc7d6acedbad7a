"""Keys and values of a clip's conditions, computed once and kept: text, picture and voice are the same at every step.

Knows nothing about what a condition means: the caller names each row's text, image and audio, and rows of one name
share what was computed. Names are the caller's own versions, never addresses of data; a condition that changes (PNG at
the borders of its phases) gets another name. What is kept is computed by the modules themselves, inside their own
blocks, so that offloading and layer-wise casting work as without it.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor, nn

AUDIO_LIMIT_BYTES = 512 * 2**20
"""Text and picture are a clip's, whatever its length; a voice is as long as the clip, and what it becomes at the real
widths takes more memory than the clip itself. What is beyond the limit is computed at every step."""

Project = Callable[[Tensor], tuple[Tensor, ...]]
MODALITIES = ("text", "image", "audio")


class ConditionCache:
    """What one clip's conditions became, by module, modality and name. Safe to fill from several threads."""

    def __init__(self, audio_limit_bytes: int = AUDIO_LIMIT_BYTES) -> None:
        self._kept: dict[tuple[nn.Module, str, Hashable], tuple[Tensor, ...]] = {}
        self._audio_left = [audio_limit_bytes]

    def rows(self, text: Sequence[Hashable], image: Sequence[Hashable], audio: Sequence[Hashable]) -> "CachedRows":
        """This cache as a forward of `len(text)` rows reads it, a name for each row and modality."""
        return CachedRows(self._kept, dict(zip(MODALITIES, (text, image, audio), strict=True)), self._audio_left)

    def forget(self, is_stale: Callable[[Hashable], bool]) -> None:
        """Drop what was kept under the names for which `is_stale` holds: texts of a phase that is over."""
        self._kept = {key: value for key, value in self._kept.items() if not is_stale(key[2])}


class CachedRows:
    """The rows of one forward; see `ConditionCache.rows`."""

    def __init__(
        self, kept: dict[tuple[nn.Module, str, Hashable], tuple[Tensor, ...]], names: dict, audio_left: list[int]
    ) -> None:
        self._kept, self._names, self._audio_left = kept, names, audio_left

    def get(self, module: nn.Module, modality: str, rows: Tensor, project: Project) -> tuple[Tensor, ...]:
        """`project(rows)` for the rows [B, ...], each computed once per name, alone, so that its last digits do not
        depend on what was computed with it. Raises ValueError for a missing name."""
        names = self._names[modality]
        if len(names) != len(rows):
            raise ValueError(f"{len(rows)} rows of {modality}, but {len(names)} names")
        first = {name: index for index, name in reversed(list(enumerate(names)))}
        every = {
            name: self._row((module, modality, name), rows[index : index + 1], project) for name, index in first.items()
        }
        found = [every[name] for name in names]
        if len(first) == 1:
            return tuple(part.expand(len(names), *part.shape[1:]) for part in found[0])
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    def _row(self, key: tuple[nn.Module, str, Hashable], row: Tensor, project: Project) -> tuple[Tensor, ...]:
        if (kept := self._kept.get(key)) is not None:
            return kept
        computed = project(row)
        if key[1] == "audio":
            size = sum(part.numel() * part.element_size() for part in computed)
            if size > self._audio_left[0]:
                return computed
            self._audio_left[0] -= size
        self._kept[key] = computed
        return computed


def projected(
    cached: CachedRows | None, module: nn.Module, modality: str, rows: Tensor, project: Project
) -> tuple[Tensor, ...]:
    """`project(rows)`, kept if there is a cache; compiled code computes it anew, since leaving it would cost more."""
    if cached is None or torch.compiler.is_compiling():
        return project(rows)
    return cached.get(module, modality, rows, project)
