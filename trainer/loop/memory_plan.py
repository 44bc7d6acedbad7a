"""How much memory a training step takes, and what fits on a GPU: arithmetic on the geometry, no model is made.

    weights + Adam's moments + average + frozen reference       held all the time, by each process its share
  + the larger of activations and gradients                     the backward pass frees the ones as it makes the others
  + the working tensors of one block's backward pass

The counts of a block's saved tensors are from its forward (`engine.wan.cdca`): what autograd keeps of each operation.
`python -m trainer prove geometry` holds the estimate against what a process really grows by.
"""

from dataclasses import dataclass, replace
from typing import Literal

GB = 1e9
GPU_GB = (24, 40, 80)
FLOAT_BYTES, HALF_BYTES = 4, 2
RESERVE = 0.08
"""Of a GPU, for its context, the allocator's fragments and the libraries' workspaces."""
BLOCK_WIDTHS = 24
"""Tensors of a token's width that a block keeps for its backward pass: norms and their inputs, shifts, queries, keys,
and values before and after norms and rotation, attention outputs, residuals."""
WORKING_WIDTHS = 4
"""More of them, and as many of the feed-forward's width as are kept, are gradients inside a block's backward pass."""
BLOCK_HIDDEN_WIDTHS = 2
"""Of the feed-forward's width: before and behind its activation."""

Reference = Literal["none", "copy", "lora-off"]


@dataclass(frozen=True)
class Geometry:
    """A transformer's sizes."""

    width: int = 1536
    hidden_width: int = 8960
    layers: int = 30
    text_tokens: int = 512
    image_tokens: int = 257
    audio_tokens: int = 17
    """Audio tokens of a latent frame."""
    text_width: int = 4096
    image_width: int = 1280
    audio_width: int = 768

    @property
    def block_weights(self) -> int:
        """Self-attention 4·D², cross-attention 4·D² and keys and values of image and audio 4·D², feed-forward 2·D·H."""
        return 12 * self.width**2 + 2 * self.width * self.hidden_width + 20 * self.width

    @property
    def other_weights(self) -> int:
        """The embedders of time, text, image and audio, the patches and the output."""
        embedders = 256 * self.width + 7 * self.width**2 + self.text_width * self.width + self.width**2
        image = self.image_width**2 + self.image_width * self.width
        return embedders + image + self.audio_width * self.width + (36 + 16) * 4 * self.width

    @property
    def weights(self) -> int:
        """All of them."""
        return self.layers * self.block_weights + self.other_weights


@dataclass(frozen=True)
class Plan:
    """A way to train. Counts are of one process; `clips` are real ones and negatives together, of one step."""

    clips: int = 1
    latent_frames: int = 29
    latent_height: int = 96
    latent_width: int = 96
    precision_bytes: int = HALF_BYTES
    checkpointing: bool = True
    lora_rank: int = 0
    processes: int = 1
    sharded: bool = False
    reference: Reference = "none"

    @property
    def tokens(self) -> int:
        """Of one clip."""
        return self.latent_frames * (self.latent_height // 2) * (self.latent_width // 2)


@dataclass(frozen=True)
class Need:
    """Bytes of one process."""

    weights: float
    kept: float
    """Adam's two moments and the average."""
    reference: float
    gradients: float
    activations: float
    working: float

    @property
    def total(self) -> float:
        """At the peak of a step."""
        passing = max(self.gradients, self.activations) + self.working
        return self.weights + self.kept + self.reference + passing


def needed(geometry: Geometry, plan: Plan) -> Need:
    """What `plan` takes. All weights are float32, the frozen ones, too; trained ones have two moments, a gradient and
    an average each."""
    share = plan.processes if plan.sharded else 1
    count = geometry.weights
    trained = count if plan.lora_rank == 0 else _lora_weights(geometry, plan.lora_rank)
    weights = (count + (trained if plan.lora_rank else 0)) * FLOAT_BYTES / share
    reference = count * FLOAT_BYTES if plan.reference == "copy" else 0
    working = WORKING_WIDTHS * geometry.width + BLOCK_HIDDEN_WIDTHS * geometry.hidden_width
    return Need(
        weights,
        3 * trained * FLOAT_BYTES / share,
        reference,
        trained * FLOAT_BYTES / share,
        activation_bytes(geometry, plan),
        plan.clips * plan.tokens * working * plan.precision_bytes,
    )


def _lora_weights(geometry: Geometry, rank: int) -> int:
    """On the twelve square matrices of a block and its two feed-forward ones."""
    square, forward = 12 * 2 * geometry.width, 2 * (geometry.width + geometry.hidden_width)
    return geometry.layers * rank * (square + forward)


def activation_bytes(geometry: Geometry, plan: Plan) -> float:
    """What the forward keeps for the backward pass."""
    per_token = BLOCK_WIDTHS * geometry.width + BLOCK_HIDDEN_WIDTHS * geometry.hidden_width
    conditions = geometry.text_tokens + geometry.image_tokens + plan.latent_frames * geometry.audio_tokens
    block = plan.clips * (plan.tokens * per_token + 5 * conditions * geometry.width) * plan.precision_bytes
    if plan.checkpointing:
        kept = plan.clips * plan.tokens * geometry.width * plan.precision_bytes
        return geometry.layers * kept + block
    return geometry.layers * block


def ways(geometry: Geometry, asked: Plan) -> list[tuple[str, Need]]:
    """From the fullest way to train to the one that trains least, and what each needs; the first that fits is the one
    to take."""
    named = {
        "all weights": replace(asked, checkpointing=False),
        "all weights, gradient checkpointing": asked,
        "all weights, gradient checkpointing, FSDP2 on 2": replace(asked, processes=2, sharded=True),
        "all weights, gradient checkpointing, FSDP2 on 4": replace(asked, processes=4, sharded=True),
        "LoRA of rank 64, gradient checkpointing": replace(asked, lora_rank=64, reference="lora-off"),
    }
    return [(name, needed(geometry, plan)) for name, plan in named.items()]


def fits(need: Need, gpu_gb: int) -> bool:
    """Whether a GPU of that many GB holds it."""
    return need.total <= gpu_gb * GB * (1 - RESERVE)


def table(geometry: Geometry, asked: Plan) -> str:
    """What each way needs, and which GPUs hold it, in Markdown."""
    sizes = " | ".join(f"{gb} GB" for gb in GPU_GB)
    lines = [
        f"| way | weights | moments, average | reference | gradients | activations | GB per GPU | {sizes} |",
        "|---|---|---|---|---|---|---|" + "---|" * len(GPU_GB),
    ]
    for name, need in ways(geometry, asked):
        parts = (need.weights, need.kept, need.reference, need.gradients, need.activations, need.total)
        held = " | ".join("yes" if fits(need, gb) else "no" for gb in GPU_GB)
        lines.append(f"| {name} | " + " | ".join(f"{part / GB:.1f}" for part in parts) + f" | {held} |")
    return "\n".join(lines)
