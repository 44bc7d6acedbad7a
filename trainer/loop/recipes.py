"""What a model is trained with: one function a recipe, and everything that shapes the result is in it."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from engine.contract.unlearning import PRESETS
from trainer.data.tasks import IMAGE_TO_VIDEO, LIP_SHARES, RELEASED_HARD, SCHEDULES, mixture

SEEN = 1_000_000
"""Steps that a model which is trained on counts as having seen: its average has no random start to forget."""


@dataclass(frozen=True)
class Stage:
    """One stage of the Soup of Tasks: how long, and the share of each task (`trainer.data.tasks`)."""

    steps: int
    tasks: dict[str, float]


@dataclass(frozen=True)
class SFTRecipe:
    """Flow-matching SFT of nano. Shares are probabilities per sample; timesteps tau = 1000 * sigma.

    At the end of every stage the weights become their average, of which the stage before keeps `old_share`
    (inter-task EMA). `trained_on` says whether it starts from a model (`sft --start`) or from nothing.

    `tau_shift` s draws sigma = s*u / (1 + (s-1)*u), u uniform. `lengths` are (content latent frames, batch size) and
    alternate. `slot_weight` is what the squared error of a slot counts against that of a point: slots are few and each
    stands alone, while a point's neighbours say much the same; `lip_weight` is the same for points of mouth and jaw,
    which count `closure_weight` times more still where the lips close between sounds.
    `phda` holds the mean breakpoints (low, high) that are drawn round; a modality at (0, 0) is not drawn.
    """

    name: str
    stages: tuple[Stage, ...]
    trained_on: bool = False
    old_share: float = 0.3
    seed: int = 0
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_learning_rate: float = 2e-5
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    lengths: tuple[tuple[int, int], ...] = ((8, 32), (16, 16))
    tau_shift: float = 3.0
    slot_weight: float = 10.0
    lip_weight: float = 1.0
    closure_weight: float = 1.0
    drop_audio: float = 0.10
    drop_text: float = 0.05
    drop_both: float = 0.05
    drop_image: float = 0.10
    phda: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {"text": (0, 0), "image": (200, 400), "audio": (600, 800)}
    )
    feature_versions: int = 2
    transformer: dict[str, Any] = field(
        default_factory=lambda: {
            "patch_size": (1, 2, 4),
            "num_attention_heads": 6,
            "attention_head_dim": 32,
            "ffn_dim": 384,
            "num_layers": 5,
            "freq_dim": 128,
            "rope_max_seq_len": 64,
            "audio_intermediate_dim": 256,
            "audio_context_tokens": 4,
        }
    )
    channels: dict[str, int] = field(default_factory=lambda: {"text": 64, "image": 64, "audio": 128})

    def as_dict(self) -> dict[str, Any]:
        """For the model's own folder."""
        return asdict(self)

    def endless(self) -> "SFTRecipe":
        """Its last stage without an end, for what runs beside or behind a training."""
        return replace(self, stages=(Stage(2**31, self.stages[-1].tasks),))

    @property
    def steps(self) -> int:
        """Of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """The stage that `step` belongs to, counting from 0, and its number."""
        for number, stage in enumerate(self.stages):
            if step < stage.steps:
                return number, stage
            step -= stage.steps
        raise ValueError(f"the recipe {self.name} ends before that step")

    def stage_ends_at(self, step: int) -> bool:
        """Whether `step` is the last of a stage."""
        return step + 1 == self.steps or self.stage_at(step)[0] != self.stage_at(step + 1)[0]


def nano() -> SFTRecipe:
    """The first edition: talking heads alone."""
    return SFTRecipe(name="nano", stages=(Stage(3500, {IMAGE_TO_VIDEO: 1.0}),), old_share=0.03)


def nano_soup(schedule: str = "hard-to-easy", steps: tuple[int, ...] = (600, 600, 800)) -> SFTRecipe:
    """The bundled model, trained on from the first edition: three stages, from hard tasks to easy ones."""
    stages = tuple(Stage(count, shares) for count, shares in zip(steps, SCHEDULES[schedule], strict=True))
    return SFTRecipe(name="nano-soup", stages=stages, trained_on=True, seed=1, learning_rate=6e-4, warmup_steps=100)


def released_soup(steps: tuple[int, ...] = (4000, 4000, 4000)) -> SFTRecipe:
    """A released model trained on (the paper's rate and its three stages; the counts of steps are ours)."""
    stages = tuple(Stage(count, mixture(share, RELEASED_HARD)) for count, share in zip(steps, LIP_SHARES, strict=True))
    return SFTRecipe(
        name="released-soup",
        stages=stages,
        trained_on=True,
        learning_rate=1e-4,
        final_learning_rate=1e-5,
        tau_shift=5.0,
        slot_weight=1.0,
    )


def nano_lips() -> SFTRecipe:
    """The soup's last stage on, the mouth counting more."""
    stages = (Stage(1300, SCHEDULES["hard-to-easy"][-1]),)
    return SFTRecipe(
        name="nano-lips",
        stages=stages,
        trained_on=True,
        old_share=0.03,
        seed=2,
        learning_rate=5e-4,
        warmup_steps=50,
        lip_weight=4.0,
    )


def nano_closures() -> SFTRecipe:
    """The last stage on once more, on an audio encoder that was taught to hear closures: they count three times."""
    return replace(
        nano_lips(),
        name="nano-closures",
        stages=(Stage(1500, SCHEDULES["hard-to-easy"][-1]),),
        seed=3,
        closure_weight=3.0,
    )


def nano_contacts() -> SFTRecipe:
    """The last stage on once more, on truth whose lips meet on every p, b and m: such frames count eight times."""
    return replace(nano_closures(), name="nano-contacts", seed=4, closure_weight=8.0)


RECIPES = {
    "nano": nano,
    "nano-soup": nano_soup,
    "nano-lips": nano_lips,
    "nano-closures": nano_closures,
    "nano-contacts": nano_contacts,
}


@dataclass(frozen=True)
class NDPORecipe:
    """A block of Negative-DPO (`trainer.objectives.ndpo`), as numbers.

    The learning rate is `learning_rate_share` (0.1 to 0.3) of the SFT recipe's, `negatives` how many of them a step
    takes beside its real batch. `loss` is a name in `ndpo_loss.LOSSES`; `reference` says where the frozen model's
    errors come from: a "copy" of it, or the trained one with its LoRA off ("lora-off", of rank `lora_rank`). A block
    stops where the running mean of D/s exceeds twice the budget, or the held-out SFT loss rises by more than
    `held_out_slack`.
    """

    steps: int = PRESETS["gentle"].steps
    forget_budget: float = PRESETS["gentle"].forget_budget
    loss: str = "npo"
    negatives: int = 16
    learning_rate_share: float = PRESETS["gentle"].learning_rate_share
    warmup_steps: int = 10
    sft_weight: float = PRESETS["gentle"].sft_weight
    ndpo_weight: float = 1.0
    old_share: float = 0.05
    held_out_slack: float = 0.03
    check_every: int = PRESETS["gentle"].check_every
    seed: int = 0
    reference: str = "copy"
    lora_rank: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For the model's own folder."""
        return asdict(self)


def preset(name: str) -> NDPORecipe:
    """The recipe of a named preset (`engine.contract.unlearning`)."""
    return NDPORecipe(**asdict(PRESETS[name]))


def forgetting() -> NDPORecipe:
    """What takes wide mouths off nano (`goals.trainer.forgetting`), SFT weighing less beside it."""
    return preset("forgetting")
