"""What a model is trained with: one function a recipe, and everything that shapes the result is in it."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class SFTRecipe:
    """Flow-matching SFT of nano. Shares are probabilities per sample; timesteps tau = 1000 * sigma.

    `tau_shift` s draws sigma = s*u / (1 + (s-1)*u), u uniform. `lengths` are (content latent frames, batch size) and
    alternate. `slot_weight` is what the squared error of a slot counts against that of a point: slots are few and each
    stands alone, while a point's neighbours say much the same.
    `phda` holds the mean breakpoints (low, high) that are drawn round; a modality at (0, 0) is not drawn.
    """

    name: str
    steps: int
    seed: int = 0
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_learning_rate: float = 2e-5
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    lengths: tuple[tuple[int, int], ...] = ((8, 32), (16, 16))
    tau_shift: float = 3.0
    slot_weight: float = 10.0
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


def nano() -> SFTRecipe:
    """The bundled model."""
    return SFTRecipe(name="nano", steps=3500)


RECIPES = {"nano": nano}
