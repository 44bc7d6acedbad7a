"""The words that nano listens to, and what it says beforehand of a request: what it does not know, what it cannot move.

Read from a model's description alone, so that a page can ask before anything is loaded. The paper's text encoder (umT5)
knows every word; nano's knows those that its training's captions were made of.
"""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.contract.variants import NANO_DESCRIPTION, Task, find_variant
from engine.nano import life

WORDS_IN_NOTICE = 8
HALF_BODY_NOTICE = "This model moves head and shoulders; hands and arms stay as they are in the picture."
SAY_NOTHING = frozenset(
    "a an and any are as at be both but by for from has have he her him his i in into is it its just me my of on or "
    "our she so that the their them then there they this to up very was we were while who whose will with you"
    " your".split()
) | (life.NO_WORDS | life.RARE_WORDS | life.OFTEN_WORDS)
"""Words that are no wish by themselves: nobody misses them."""


@dataclass(frozen=True)
class Vocabulary:
    """`words` in the order of their numbers, from 1; of a text, the first `most` that are known are listened to."""

    words: tuple[str, ...]
    most: int = 8

    @classmethod
    def of(cls, folder: Path) -> "Vocabulary":
        """That of the nano model in `folder`. Raises OSError, ValueError or KeyError where it cannot be read."""
        path = folder / NANO_DESCRIPTION
        return _read(path, path.stat().st_mtime_ns)

    def numbers(self, text: str) -> list[int]:
        """Of the known words of `text`, `most` at most, in its order."""
        index = {word: number for number, word in enumerate(self.words, 1)}
        return [index[word] for word in _split(text) if word in index][: self.most]

    def unknown(self, text: str) -> list[str]:
        """The words of `text` that do nothing, once each: unknown, or too many."""
        words = _split(text)
        known = [word for word in words if word in self.words]
        lost = [word for word in words if word not in self.words] + known[self.most :]
        return [word for word in dict.fromkeys(lost) if word not in life.WORDS | SAY_NOTHING]

    def notices(self, task: Task, texts: Mapping[str, str]) -> list[str]:
        """What is to be said of a request for `task` with `texts`, by what they are ("prompt")."""
        said = [HALF_BODY_NOTICE] if task == "half-body" else []
        for name, text in texts.items():
            unknown = self.unknown(text)
            if unknown:
                shown = ", ".join(unknown[:WORDS_IN_NOTICE]) + (", …" if len(unknown) > WORDS_IN_NOTICE else "")
                said.append(f"The model does not know these words of the {name}, they do nothing: {shown}.")
        return said


def notices(model: str, task: Task, prompt: str) -> list[str]:
    """What `model`, by name or folder, says of them; nothing for one that takes any words, or that is not whole."""
    variant = find_variant(model)
    if not variant.is_nano:
        return []
    try:
        return Vocabulary.of(variant.folder).notices(task, {"prompt": prompt})
    except (OSError, ValueError, KeyError):  # loading it says what is missing
        return []


def _split(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


@functools.lru_cache(maxsize=16)
def _read(path: Path, _changed: int) -> Vocabulary:
    return Vocabulary(tuple(json.loads(path.read_text(encoding="utf-8"))["vocabulary"]))
