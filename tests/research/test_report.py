from datetime import date

import numpy as np

from research.measures import METRICS
from research.plan import Arm, Experiment, Rule, Training
from research.report import NOT_RUN, REPRODUCED, REVERSED, UNDECIDED, Circumstances, judge, write_report
from research.results import Result

EXPERIMENT = Experiment(
    "toy",
    "Is it so?",
    "It is so.",
    (Arm("good", "better"), Arm("bad", "worse"), Arm("trained", "trained", training=Training())),
    (Rule("good", "bad", "lip_r"), Rule("good", "bad", "head_jerk"), Rule("trained", "bad", "lip_r")),
)


def results(level: float, jerk: float, seed: int) -> Result:
    random = np.random.default_rng(seed)
    values = {name: [level + 0.01 * random.normal() for _ in range(10)] for name in METRICS}
    return Result(values | {"head_jerk": [jerk] * 10}, 0, 0.0, 1.0, None)


def test_a_rule_is_judged_by_its_interval_and_by_which_way_is_better():
    run = {"good": [results(0.9, 20.0, s) for s in range(3)], "bad": [results(0.8, 10.0, s + 5) for s in range(3)]}
    assert judge(EXPERIMENT.rules[0], run).verdict == REPRODUCED
    assert judge(EXPERIMENT.rules[1], run).verdict == REVERSED
    assert judge(EXPERIMENT.rules[2], run).verdict == NOT_RUN
    same = {"good": run["good"], "bad": [results(0.9, 20.0, s + 9) for s in range(3)]}
    assert judge(EXPERIMENT.rules[0], same).verdict == UNDECIDED


def test_the_page_says_what_was_run_what_was_not_and_what_came_out_the_other_way(tmp_path):
    run = {"good": [results(0.9, 20.0, s) for s in range(3)], "bad": [results(0.8, 10.0, s + 5) for s in range(3)]}
    page = write_report(EXPERIMENT, run, Circumstances(10, "ab" * 32, date(2026, 1, 2)), tmp_path).read_text()
    assert "Of 3 rules 2 were tested: 1 came out as expected, 1 the other way round" in page
    assert f"| trained | 0 | {NOT_RUN} | – | – |" in page
    assert "none, inference only" in page and "2026-01-02" in page and "abababababab" in page
    assert (tmp_path / "toy.png").stat().st_size > 1000


def test_an_experiment_of_which_nothing_ran_still_has_a_page(tmp_path):
    page = write_report(EXPERIMENT, {}, Circumstances(10, "0" * 64, date(2026, 1, 2)), tmp_path).read_text()
    assert "Of 3 rules 0 were tested" in page and "![" not in page
    assert not (tmp_path / "toy.png").exists()
