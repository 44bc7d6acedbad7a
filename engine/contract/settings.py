"""Every knob of a generation, one frozen model: form, command-line flags, API and record are made of it.

Torch-free. Values that a variant does not use (`Variant.inert_settings`) stay at their default and are hidden.
Convention: timesteps τ in (0, 1000], high = noisy = early (EchoMimicV3, arXiv 2507.03905).
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Solver = Literal["euler", "unipc", "dpm++"]


class Section(BaseModel):
    """Frozen, and an unknown name or a value that is not finite is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SamplingSettings(Section):
    """How the flow is integrated."""

    steps: int = Field(default=8, ge=1, le=100, title="Steps", description="Denoising steps; more is slower and finer.")
    solver: Solver = Field(default="euler", title="Solver", description="ODE solver of the flow.")
    shift: float = Field(default=1.0, ge=0.1, le=20.0, title="Shift", description="Flow shift of the noise schedule.")
    size_px: int = Field(
        default=768,
        ge=128,
        le=1536,
        title="Size",
        description="Side in pixels of the square with as many pixels as a generated frame.",
    )


class GuidanceSettings(Section):
    """Three-branch guidance v_u + text·(v_t − v_u) + audio·(v_ta − v_t), in an early and a late phase.

    With both late scales at 1 the early phase is a guidance window: behind it one branch is left.
    """

    text: float = Field(default=1.0, ge=0.0, le=20.0, title="Text guidance", description="1 = none.")
    audio: float = Field(default=2.0, ge=0.0, le=20.0, title="Audio guidance", description="1 = none; opens the mouth.")
    dynamic: bool = Field(default=False, title="Dynamic guidance", description="Let both scales fall towards the end.")
    early_share: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        title="Early phase",
        description="Share of the steps, from the first, that use the scales above; 1 = all.",
    )
    late_text: float = Field(
        default=1.0, ge=0.0, le=20.0, title="Late text guidance", description="Behind the early phase; 1 = none."
    )
    late_audio: float = Field(
        default=1.0, ge=0.0, le=20.0, title="Late audio guidance", description="Behind the early phase; 1 = none."
    )


class PhaseBreakpoints(Section):
    """Eq. 2 for one modality: weight 0.5 below `low`, 1 above `high`, linear between; (0, 0) is always 1."""

    low: float = Field(
        default=0.0, ge=0.0, le=1000.0, title="Low breakpoint", description="τ below which the weight is 0.5."
    )
    high: float = Field(
        default=0.0,
        ge=0.0,
        le=1000.0,
        title="High breakpoint",
        description="τ from which the weight is 1; both 0: always.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low must not exceed high; got {self.low:g} > {self.high:g}, swap them")
        return self


class PhDASettings(Section):
    """Phase-aware Dynamical Allocation: the breakpoints of each modality's weight over the timestep."""

    enabled: bool = Field(default=True, title="PhDA", description="Off: every modality weighs 1 at every step.")
    text: PhaseBreakpoints = PhaseBreakpoints()
    image: PhaseBreakpoints = PhaseBreakpoints(low=200.0, high=400.0)
    audio: PhaseBreakpoints = PhaseBreakpoints(low=600.0, high=800.0)


class PhaseNegativeSettings(Section):
    """Phase-aware Negative Guidance: groups of negative prompts, each boosted in its own phase."""

    mode: Literal["phase", "reference", "off"] = Field(
        default="phase",
        title="Negative guidance",
        description="phase: each group of words counts more in its own phase; reference: as the authors' public code "
        "does, boost upon boost; off: your words alone.",
    )
    boost: float = Field(
        default=1.5, ge=1.0, le=4.0, title="Boost", description="Weight of a group in its own phase; 1 elsewhere."
    )
    motion_share: float = Field(
        default=0.12,
        ge=0.0,
        le=1.0,
        title="Motion phase",
        description="For this share of the steps, from the first on, motion is boosted.",
    )
    detail_below: float = Field(
        default=667.0, ge=0.0, le=1000.0, title="Detail phase", description="τ below which details are boosted."
    )


class LongVideoSettings(Section):
    """Long Video CFG: how windows of a long clip are joined (paper, Eq. 4-5)."""

    mode: Literal["all", "paper", "off"] = Field(
        default="all",
        title="Joining of windows",
        description="all: every branch blended; paper: the conditional ones; off: cross-faded, for comparison.",
    )
    window_latent_frames: int = Field(
        default=0, ge=0, le=64, title="Window", description="Latent frames denoised together; 0 = what suits the model."
    )
    overlap_latent_frames: int = Field(
        default=4, ge=0, le=16, title="Overlap", description="Latent frames that neighbouring windows share."
    )
    colour_match: bool = Field(
        default=False, title="Match colours", description="Pull every window's colours back to the picture's."
    )


class CacheSettings(Section):
    """What is kept from step to step instead of being computed again."""

    kind: Literal["off", "magcache", "teacache", "taylorseer", "first_block"] = Field(
        default="off", title="Step cache", description="Skips most of a forward where it would change little."
    )
    threshold: float = Field(
        default=0.12, ge=0.0, le=1.0, title="Cache threshold", description="Higher skips more and changes more."
    )
    conditions: bool = Field(
        default=True, title="Keep conditions", description="Keys and values of text, picture and voice once per clip."
    )


class LipSyncSettings(Section):
    """How a voice and a film of different lengths meet."""

    audio_longer: Literal["hold", "loop"] = Field(
        default="hold",
        title="Voice longer",
        description="hold: the last frame stays; loop: the film swings to and fro.",
    )
    audio_shorter: Literal["rest", "cut"] = Field(
        default="rest",
        title="Voice shorter",
        description="rest: the film goes on with the mouth at rest; cut: it ends.",
    )


class RuntimeSettings(Section):
    """Where and how the model runs; changes memory and speed, the result only in rounding."""

    memory: Literal["auto", "full", "balanced", "low", "quantised"] = Field(
        default="auto", title="Memory mode", description="auto: the fastest that fits the device."
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        default="auto", title="Precision", description="auto: what the device computes well."
    )
    attention: Literal["native", "flash", "sage", "xformers"] = Field(
        default="native", title="Attention", description="Kernel; all but native must be installed."
    )
    compile: bool = Field(default=False, title="Compile", description="torch.compile of the repeated blocks.")


class LiveSettings(Section):
    """What may change while a job runs, from one denoising step to the next."""

    guidance: GuidanceSettings = GuidanceSettings()
    phda: PhDASettings = PhDASettings()
    png: PhaseNegativeSettings = PhaseNegativeSettings()


class Settings(Section):
    """All settings of one generation; a variant's `default_settings` gives its own starting point."""

    sampling: SamplingSettings = SamplingSettings()
    guidance: GuidanceSettings = GuidanceSettings()
    phda: PhDASettings = PhDASettings()
    png: PhaseNegativeSettings = PhaseNegativeSettings()
    long_video: LongVideoSettings = LongVideoSettings()
    cache: CacheSettings = CacheSettings()
    lip_sync: LipSyncSettings = LipSyncSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    audio_scale: float = Field(
        default=1.0, ge=0.0, le=3.0, title="Audio scale", description="Strength of the audio attention."
    )
    negative_prompt: str = Field(default="", max_length=2000, title="Negative prompt", description="What to avoid.")
    lora_scale: float = Field(default=1.0, ge=0.0, le=2.0, title="LoRA scale", description="Strength of the LoRA file.")
    longest_side_px: int = Field(
        default=1920,
        ge=256,
        le=8192,
        title="Longest side",
        description="A larger picture is drawn at this size, in px.",
    )

    @property
    def live(self) -> LiveSettings:
        """The part that may change from step to step."""
        return LiveSettings(guidance=self.guidance, phda=self.phda, png=self.png)
