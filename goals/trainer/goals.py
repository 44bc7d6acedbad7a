"""The trainer's page: kills, shared work, the planner's memory, a defect unlearned."""

from goals.goal import Part, Place, Row
from goals.trainer import forgetting, geometry, kills, sharing

PART = Part(
    "trainer",
    "The trainer",
    """
How to read it. Trainings are tiny but real, in processes of their own. The planner's row is a real step at the released
widths. Negative-DPO is measured on held-out voices and faces, pair by pair with the model before; its interval is the
bootstrap's over pairs, and the control is as many steps of SFT alone.
""",
)


@PART.goal("kills")
def _kills(place: Place) -> list[Row]:
    return kills.measure_rows(place.videos)


@PART.goal("sharing")
def _sharing(place: Place) -> list[Row]:
    return sharing.measure_rows(place.videos)


@PART.goal("geometry")
def _geometry(place: Place) -> list[Row]:
    return geometry.measure_rows(place.videos)


@PART.goal("forgetting")
def _forgetting(place: Place) -> list[Row]:
    return forgetting.measure_rows(place.videos / "forgetting")
