"""The progress bar only goes forward, and the time left follows the pace that was measured."""

import pytest

from engine.contract.progress import Progress, ProgressMeter


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(pace: float) -> tuple[list[Progress], ProgressMeter]:
    clock, reports = Clock(), []
    meter = ProgressMeter(reports.append, {"reading": 1.0, "sampling": 8.0, "decoding": 11.0}, clock)
    for stage, total, expected_s in (("reading", 1, 1.0), ("sampling", 4, 8.0), ("decoding", 100, 11.0)):
        for done in range(total + 1):
            meter.report(stage, done, total)
            clock.now += expected_s / total * pace if done < total else 0.0
    meter.finish()
    return reports, meter


@pytest.mark.parametrize("pace", [0.1, 1.0, 5.0])
def test_the_fraction_rises_to_one_and_the_time_left_falls_to_zero(pace: float):
    reports, _ = run(pace)
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert reports[-1].stage == "done" and reports[-1].seconds_left == 0.0
    assert reports[-2].seconds_left == 0.0


def test_the_time_left_is_right_halfway_through_a_job_at_any_pace():
    for pace in (0.2, 1.0, 5.0):
        reports, _ = run(pace)
        after_sampling = next(r for r in reports if r.stage == "decoding" and r.done == 0)
        assert after_sampling.seconds_left == pytest.approx(11.0 * pace, rel=0.5)


def test_time_is_kept_for_every_stage():
    _, meter = run(2.0)
    assert meter.seconds == pytest.approx({"reading": 2.0, "sampling": 16.0, "decoding": 22.0})


def test_a_better_guess_does_not_turn_the_bar_back():
    reports: list[Progress] = []
    meter = ProgressMeter(reports.append, {"reading": 1.0, "sampling": 1.0}, Clock())
    meter.report("reading", 1, 1)
    meter.expect({"sampling": 99.0})
    meter.report("sampling", 0, 10)
    meter.report("sampling", 6, 10)
    assert [report.fraction for report in reports] == pytest.approx([0.5, 0.5, 0.604])
