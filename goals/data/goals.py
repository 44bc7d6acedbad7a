"""Data preparation's page: planted defects and kills."""

from goals.data import defects
from goals.goal import Measured, Part, Place

PART = Part("data", "Data preparation")


@PART.goal("defects")
def _defects(place: Place) -> Measured:
    """`--set seed=0 workers=2 kills=10`."""
    told = {"seed": 0, "workers": 2, "kills": 10} | {name: int(value) for name, value in place.options.items()}
    return defects.measure_rows(place.videos, **told)
