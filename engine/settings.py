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


class GuidanceSettings(Section):
    """Three-branch guidance v_u + text·(v_t − v_u) + audio·(v_ta − v_t)."""

    text: float = Field(default=1.0, ge=0.0, le=20.0, title="Text guidance", description="1 = none.")
    audio: float = Field(default=2.0, ge=0.0, le=20.0, title="Audio guidance", description="1 = none; opens the mouth.")
    dynamic: bool = Field(default=False, title="Dynamic guidance", description="Let both scales fall towards the end.")


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


class Settings(Section):
    """All settings of one generation; a variant's `default_settings` gives its own starting point."""

    sampling: SamplingSettings = SamplingSettings()
    guidance: GuidanceSettings = GuidanceSettings()
    phda: PhDASettings = PhDASettings()
    audio_scale: float = Field(
        default=1.0, ge=0.0, le=3.0, title="Audio scale", description="Strength of the audio attention."
    )
    negative_prompt: str = Field(default="", max_length=2000, title="Negative prompt", description="What to avoid.")
