"""What the studio and the trainer both know of a block of Negative-DPO: its presets, and the speech beside the labels.

Torch-free. The trainer learns by these numbers, the page shows them.
"""

from dataclasses import dataclass
from pathlib import Path

from engine.contract.places import ASSETS

SPEECH = Path("data", "speech")
"""Where `trainer synthesize` writes the whole corpus, seen from where the program was started."""
BUNDLED_SPEECH = ASSETS / "speech"
"""The first minutes of it, for a machine that has no more."""
TRAIN_SPLIT, HELD_OUT_SPLIT = "train", "heldout_voice"
"""What a block learns from, and what its guard listens to."""
INDEX_NAME, CURVES_NAME, WAVES_NAME, PACKED_WAVES_NAME = "index.json", "curves.npy", "waves.npy", "waves.opus"


@dataclass(frozen=True)
class Preset:
    """How a block unlearns: its steps, its forget budget, its rate as a share of SFT's, what SFT weighs beside it."""

    steps: int
    forget_budget: float
    learning_rate_share: float
    sft_weight: float
    check_every: int


PRESETS: dict[str, Preset] = {
    "gentle": Preset(steps=200, forget_budget=0.1, learning_rate_share=0.1, sft_weight=1.0, check_every=25),
    "forgetting": Preset(steps=100, forget_budget=0.2, learning_rate_share=0.05, sft_weight=0.5, check_every=20),
}
"""gentle: moves little, keeps most. forgetting: what took mouths that open too wide off nano, .445 of held-out clips
to .115; real clips weigh half beside it."""
DEFAULT_PRESET = "forgetting"


def is_speech(folder: Path) -> bool:
    """Whether `folder` holds, whole, what a block learns from and what its guard listens to."""
    return all(
        (folder / split / INDEX_NAME).is_file()
        and (folder / split / CURVES_NAME).is_file()
        and any((folder / split / name).is_file() for name in (WAVES_NAME, PACKED_WAVES_NAME))
        for split in (TRAIN_SPLIT, HELD_OUT_SPLIT)
    )


def find_speech(asked: Path | None = None, at: Path = Path()) -> Path:
    """The speech that a block learns from: the asked one, else the whole corpus below `at`, else the bundled one."""
    return asked or next((found for found in (at / SPEECH, BUNDLED_SPEECH) if is_speech(found)), at / SPEECH)
