"""What may be changed about the motion of a clip when its frames are drawn, after it was sampled. Torch-free.

Amounts are in per cent of what the clip does by itself: 0 is none of it, 100 leaves every frame exactly as it is.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.contract.errors import UserError

MOST = 150.0
MOST_BLINKS = 100

Percent = Annotated[float, Field(ge=0.0, le=MOST, allow_inf_nan=False)]
Moment = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class MotionEdit(BaseModel):
    """How much of each motion is drawn, in per cent, and where the eyes blink besides, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: Percent = Field(default=100.0, title="Head", description="How far it turns, nods and sways.")
    mouth: Percent = Field(
        default=100.0, title="Mouth", description="How far it opens; lips that meet still meet, 0 keeps it shut."
    )
    blink: Percent = Field(default=100.0, title="Blinks", description="How many; 50 is every second one.")
    brows: Percent = Field(default=100.0, title="Brows", description="How far they rise and frown.")
    gaze: Percent = Field(default=100.0, title="Gaze", description="How far the eyes look away from where they rest.")
    smile: Percent = Field(default=100.0, title="Smile", description="How far the mouth's corners stay drawn.")
    blink_at_s: tuple[Moment, ...] = Field(
        default=(), max_length=MOST_BLINKS, title="Blink at", description="Seconds at which the eyes are shut, besides."
    )

    @field_validator("blink_at_s", mode="before")
    @classmethod
    def _reads_numbers(cls, given: Any) -> Any:
        return [part for part in given.split(",") if part.strip()] if isinstance(given, str) else given

    @property
    def changes_nothing(self) -> bool:
        """Whether every frame stays exactly as it is."""
        return self == MotionEdit()

    def check_length(self, length_s: float) -> None:
        """Raises UserError where a blink is asked for behind the end of a clip of `length_s`."""
        if late := [moment_s for moment_s in self.blink_at_s if moment_s >= length_s]:
            raise UserError(
                f"A blink is asked for at {late[0]:g} s, the clip lasts {length_s:.2f} s; give an earlier moment.",
                "motion",
            )


AMOUNTS = tuple(name for name in MotionEdit.model_fields if name != "blink_at_s")
"""The fields that are per cent."""


def checked_motion(values: dict[str, Any]) -> MotionEdit:
    """The edit that `values` ask for. Raises UserError for the field that is wrong."""
    try:
        return MotionEdit.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "motion"
        title = MotionEdit.model_fields[name].title if name in MotionEdit.model_fields else name
        raise UserError(f"{title}, {str(first['input'])[:40]!r}: {first['msg'].lower()}.", "motion") from error
