"""What a finished video is taken away as: its shape, captions, loudness and format. Torch-free, pydantic only."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.contract.errors import UserError

Shape = Literal["as it is", "9:16", "1:1", "16:9"]
Format = Literal["mp4", "gif"]
RATIOS: dict[Shape, tuple[int, int] | None] = {"as it is": None, "9:16": (9, 16), "1:1": (1, 1), "16:9": (16, 9)}
MOST_LETTERS = 5000
LETTERS_PER_S = 25.0
"""Faster than this nobody reads; broadcasters stay below 20."""


class Export(BaseModel):
    """How a video is exported. `captions` are the words that are spoken, in their order; empty for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape = Field(default="9:16", title="Shape", description="The crop follows the face.")
    captions: str = Field(default="", max_length=MOST_LETTERS, title="Captions", description="The words that are said.")
    burnt_in: bool = Field(default=True, title="Captions in the picture", description="Beside .vtt and .srt files.")
    loudness: bool = Field(default=True, title="Even loudness", description="-14 LUFS, as players ask for.")
    format: Format = Field(default="mp4", title="Format", description="gif: silent, 12 pictures a second.")

    def check_length(self, duration_s: float) -> None:
        """Raises UserError where the captions are longer than `duration_s` allows to read."""
        letters = len(self.captions.strip())
        if letters > LETTERS_PER_S * duration_s:
            raise UserError(
                f"The captions have {letters} letters, more than can be read in {duration_s:.1f} s "
                f"({LETTERS_PER_S * duration_s:.0f}): shorten them.",
                "captions",
            )


def checked_export(values: dict[str, Any]) -> Export:
    """The export that `values` ask for. Raises UserError for the field that is wrong."""
    try:
        return Export.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "shape"
        raise UserError(f"{name} {str(first['input'])[:40]!r}: {first['msg'].lower()}.", name) from error
