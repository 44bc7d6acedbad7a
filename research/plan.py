"""An experiment as data: its arms, and the rules by which it is judged, written down before it is run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.contract.settings import Settings
from engine.contract.variants import NANO


@dataclass(frozen=True)
class Training:
    """How an arm's model is trained on from the one that all arms share."""

    schedule: str = "hard-to-easy"
    """Of the Soup of Tasks, a name in `trainer.data.tasks.SCHEDULES`."""
    ema: bool = True
    """Whether the weights become their average at the end of each stage."""
    phda: bool = True
    """Whether modalities are weighed by phase; without it every one weighs 1."""


@dataclass(frozen=True)
class Arm:
    """One way of doing it. `changes` are dotted settings against nano's defaults, `omission` a name in
    `research.omissions`, left out in sampling and, where the arm is trained, in training too."""

    name: str
    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    omission: str | None = None
    training: Training | None = None
    """None: inference only."""
    unlearning: str | None = None
    """Instead of a training: a method of `research.unlearning`."""

    @property
    def is_trained(self) -> bool:
        """Whether its model is not the one that all arms share."""
        return self.training is not None or self.unlearning is not None

    @property
    def settings(self) -> Settings:
        """Of the arm's sampling."""
        values = NANO.default_settings.model_dump()
        for name, value in self.changes.items():
            section = values
            *path, last = name.split(".")
            for part in path:
                section = section[part]
            if last not in section:
                raise ValueError(f"there is no setting {name}")
            section[last] = value
        return Settings.model_validate(values)

    def as_dict(self) -> dict[str, Any]:
        """All that shapes its results."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "omission": self.omission,
            "training": asdict(self.training) if self.training else None,
        } | ({"unlearning": self.unlearning} if self.unlearning else {})


@dataclass(frozen=True)
class Rule:
    """`winner` must be better than `loser` in `metric`: the 95 % interval of the paired difference lies above 0."""

    winner: str
    loser: str
    metric: str


@dataclass(frozen=True)
class Experiment:
    """A question, the arms that answer it, and the rules; `claim` is what the paper says or implies."""

    name: str
    question: str
    claim: str
    arms: tuple[Arm, ...]
    rules: tuple[Rule, ...]
    note: str = ""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        unknown = {name for rule in self.rules for name in (rule.winner, rule.loser)} - set(names)
        if unknown or len(names) != len(set(names)):
            raise ValueError(f"arms need names of their own and rules must name them; got {names}, {unknown}")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that its rules look at."""
        return tuple(dict.fromkeys(rule.metric for rule in self.rules))
