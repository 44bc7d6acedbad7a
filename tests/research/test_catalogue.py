import pytest

from engine.contract.variants import NANO
from research.catalogue import EXPERIMENTS
from research.measures import METRICS
from research.omissions import OMISSIONS
from research.plan import Arm, Experiment, Rule, Training
from trainer.data.tasks import SCHEDULES


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_every_experiment_has_rules_about_things_that_are_measured(experiment):
    assert experiment.rules and set(experiment.metrics) <= set(METRICS)
    for rule in experiment.rules:
        assert METRICS[rule.metric].higher_is_better is not None
    for arm in experiment.arms:
        assert arm.omission is None or arm.omission in OMISSIONS
        assert arm.training is None or arm.training.schedule in SCHEDULES


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_arms_differ_and_those_of_a_rule_are_both_trained_or_both_not(experiment):
    arms = {arm.name: arm for arm in experiment.arms}
    described = [arm.as_dict() for arm in experiment.arms]
    assert all(described.count(one) == 1 for one in described)
    for rule in experiment.rules:
        assert arms[rule.winner].is_trained == arms[rule.loser].is_trained


def test_an_arm_changes_the_settings_that_it_names():
    arm = Arm("a", "a", {"guidance.audio": 1.5, "long_video.mode": "off"})
    assert arm.settings.guidance.audio == 1.5 and arm.settings.long_video.mode == "off"
    assert arm.settings.sampling == NANO.default_settings.sampling
    with pytest.raises(ValueError, match="no setting"):
        _ = Arm("a", "a", {"guidance.loudness": 1.0}).settings


def test_a_rule_about_an_arm_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="must name them"):
        Experiment("x", "?", "!", (Arm("a", "a"),), (Rule("a", "b", "lip_r"),))
    with pytest.raises(ValueError, match="names of their own"):
        Experiment("x", "?", "!", (Arm("a", "a"), Arm("a", "b", training=Training())), ())
