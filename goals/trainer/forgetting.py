"""Does Negative-DPO take a defect off nano? NDPO-SFT cycles against as many steps of SFT alone, on held-out clips.

The defect, stated before anything is trained, is a mouth that opens too wide (`trainer.objectives.wide_mouths`).
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.contract.variants import NANO
from engine.nano.model import NanoModel
from goals.goal import Row
from trainer.loop.recipes import NDPORecipe, SFTRecipe, Stage, forgetting, nano_closures
from trainer.objectives import ndpo, sft
from trainer.objectives.wide_mouths import held_out_clips, opening_limit, wide_negatives
from trainer.subjects.nano_subject import NanoSubject

CYCLES = 2
SFT_STEPS = 10
"""Behind each block; as many as the block's take back most of what it moved (numbers in LOG.md)."""
PAIRS = 200
CANDIDATES = 96


@dataclass(frozen=True)
class Rates:
    """Which of the held-out pairs open too wide, and their lip r, clip by clip."""

    wide: list[bool]
    lip_r: list[float]

    @property
    def rate(self) -> float:
        """Share of clips that open too wide."""
        return float(np.mean(self.wide))


@dataclass(frozen=True)
class Trial:
    """What is trained, from what, and where: the nano in `start`, cycles and control in `run`.

    `recipe` is of the real batches, of which `features` are the corpus's.
    """

    start: Path
    run: Path
    corpus: Path
    features: Path
    recipe: SFTRecipe
    block: NDPORecipe


def measure_rows(folder: Path) -> list[Row]:
    """The row of the bundled nano, on the corpus in data/speech; minutes on one core."""
    found = forget(
        Trial(NANO.folder, folder, Path("data/speech"), folder / "features.npy", nano_closures(), forgetting())
    )
    ratio, upper = found["cycles"]["ratio"], found["cycles"]["ratio_95"][1]
    lip = ", ".join(f"{name} {value:.3f}" for name, value in found["lip_r"].items())
    same_lips = abs(found["lip_r"]["cycles"] - found["lip_r"]["start"]) <= 0.02
    base, (low, high) = found["rate"]["start"], found["control"]["ratio_95"]
    return [
        Row(
            f"Negative-DPO, mouths that open too wide, {found['pairs']} held-out pairs: the rate after over before",
            "≤ 0.5, its 95 % interval ≤ 0.67; control unchanged, lip r within 0.02",
            f"base {base:.2f}, ratio {ratio:.2f} (to {upper:.2f}), control {low:.2f} to {high:.2f}, lip r {lip}",
            base >= 0.2 and ratio <= 0.5 and upper <= 0.67 and same_lips and low <= 1 <= high,
        )
    ]


def forget(trial: Trial) -> dict[str, Any]:
    """Train both ways and measure; the trial's run gets every model and forgetting.json."""
    start, steps = NanoModel.load(trial.start), trial.block.steps
    limit = opening_limit(start)
    folder, told = trial.start, []
    for number in range(1, CYCLES + 1):
        model = NanoModel.load(folder)
        negatives, judged = wide_negatives(model, limit, CANDIDATES, number)
        block = replace(trial.block, seed=trial.block.seed + number)
        subject = NanoSubject(trial.corpus, model, features=trial.features)
        pool = subject.pool_of(negatives, block.seed)
        run = trial.run / str(number) / "ndpo"
        done = ndpo.train(block, trial.recipe, subject, pool, run)
        told.append({"wide": judged, "of": CANDIDATES, "steps": done.step, "stopped_by": done.stopped_by})
        folder = _sft(trial, done.model, trial.run / str(number) / "sft", SFT_STEPS, seed=number)
    control = _sft(trial, trial.start, trial.run / "control", CYCLES * (steps + SFT_STEPS), seed=1)
    rates = {
        name: held_out_rates(NanoModel.load(of), limit)
        for name, of in (("start", trial.start), ("cycles", folder), ("control", control))
    }
    found = summary(rates) | {"limit": limit, "blocks": told}
    clips = {name: asdict(rate) for name, rate in rates.items()}
    (trial.run / "forgetting.json").write_text(json.dumps(found | {"clips": clips}, indent=1) + "\n")
    return found


def summary(rates: dict[str, Rates], draws: int = 4000) -> dict[str, Any]:
    """Rates, their ratios to the start's with the bootstrap's 95 % upper bound over pairs, and lip r."""
    found: dict[str, Any] = {"pairs": len(rates["start"].wide), "rate": {n: r.rate for n, r in rates.items()}}
    found["lip_r"] = {name: float(np.mean(rate.lip_r)) for name, rate in rates.items()}
    before = np.array(rates["start"].wide, float)
    drawn = np.random.default_rng(0).integers(len(before), size=(draws, len(before)))
    for name in ("cycles", "control"):
        after = np.array(rates[name].wide, float)
        ratios = after[drawn].mean(1) / np.maximum(before[drawn].mean(1), 1e-9)
        found[name] = {
            "ratio": float(after.mean() / max(before.mean(), 1e-9)),
            "ratio_95": [float(bound) for bound in np.percentile(ratios, [2.5, 97.5])],
        }
    return found


def held_out_rates(model: NanoModel, limit: float) -> Rates:
    """Of PAIRS held-out prompts and seeds."""
    made = list(held_out_clips(model, PAIRS))
    return Rates([clip.opening > limit for clip in made], [clip.lip_r for clip in made])


def _sft(trial: Trial, start: Path, run: Path, steps: int, *, seed: int) -> Path:
    """SFT of `steps` from the model in `start`, at the rate of Negative-DPO's blocks; returns the model's folder."""
    recipe = replace(
        trial.recipe,
        name="beside-ndpo",
        stages=(Stage(steps, trial.recipe.stages[-1].tasks),),
        trained_on=True,
        seed=trial.recipe.seed + 100 * seed,
        learning_rate=trial.recipe.learning_rate * trial.block.learning_rate_share,
        warmup_steps=trial.block.warmup_steps,
    )
    return sft.train(recipe, NanoSubject.begun_with(start, trial.corpus, features=trial.features), run)
