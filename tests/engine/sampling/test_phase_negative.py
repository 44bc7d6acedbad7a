"""PNG: boosts come from the step alone, groups are boosted before the embedder, and nothing is evaluated twice."""

import pytest
import torch

from engine.contract import negatives
from engine.contract.errors import UserError
from engine.contract.negatives import negative_words
from engine.contract.phases import Boosts, boosts, motion_steps
from engine.contract.settings import PhaseNegativeSettings
from engine.sampling.phase_negative import NegativeText
from engine.sampling.schedulers import make_scheduler

PHASE = PhaseNegativeSettings(mode="phase")


@pytest.mark.parametrize(("steps", "expected"), [(1, 1), (5, 1), (8, 1), (20, 2), (25, 3), (50, 6)])
def test_the_motion_phase_lasts_twelve_percent_of_the_steps_and_at_least_one(steps: int, expected: int):
    assert motion_steps(steps, PHASE) == expected
    course = [boosts(step, steps, 999.0, PHASE).motion for step in range(steps)]
    assert course == [1.5] * expected + [1.0] * (steps - expected)


def test_details_are_boosted_below_their_border():
    taus = [float(tau) for tau in make_scheduler("unipc", 5.0, 25).timesteps]
    course = [boosts(step, 25, tau, PHASE).detail for step, tau in enumerate(taus)]
    assert course == [1.5 if tau < 667 else 1.0 for tau in taus]
    assert {1.0, 1.5} == set(course)
    border = PHASE.detail_below
    assert [boosts(9, 25, tau, PHASE).detail for tau in (border + 1, border, border - 1)] == [1.0, 1.0, 1.5]


def test_the_reference_compounds_over_three_steps_and_stays():
    course = [boosts(step, 10, 500.0, PhaseNegativeSettings(mode="reference")) for step in range(5)]
    assert [pair.motion for pair in course] == [1.5, 2.25, 3.375, 3.375, 3.375]
    assert all(pair.motion == pair.detail for pair in course)


def test_off_is_the_users_words_alone_and_a_share_of_zero_has_no_phase():
    assert boosts(0, 10, 999.0, PhaseNegativeSettings(mode="off")) is None
    assert boosts(0, 10, 999.0, PhaseNegativeSettings(motion_share=0.0)) == Boosts(1.0, 1.0)


def text() -> NegativeText:
    return NegativeText(torch.full((2, 3), 1.0), torch.full((3, 3), 2.0), torch.full((1, 3), 4.0), 10)


def test_groups_stand_behind_the_users_words_at_their_boosts_and_zeros_fill_the_rest():
    got = text().at(Boosts(1.5, 0.5))[0, :, 0]
    assert got.tolist() == [1, 1, 3, 3, 3, 2, 0, 0, 0, 0]
    assert text().at(None)[0, :, 0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_more_tokens_than_the_model_reads_are_refused():
    with pytest.raises(UserError, match="shorten") as caught:
        NegativeText(torch.zeros(500, 3), torch.zeros(10, 3), torch.zeros(3, 3), 512)
    assert caught.value.field == "negative_prompt"


def test_the_file_has_both_groups_for_every_family():
    released, nano = negative_words("released"), negative_words("nano")
    assert "frozen picture" in released["motion"] and "over-exposure" in released["detail"]
    assert nano["motion"] and not nano["detail"]


@pytest.mark.parametrize("content", ["released: [", "other: {}", "nano:\n  motion: 5\n"])
def test_a_broken_file_is_said(content: str, tmp_path, monkeypatch):
    file = tmp_path / "negatives.yaml"
    file.write_text(content)
    monkeypatch.setattr(negatives, "NEGATIVES_FILE", file)
    negative_words.cache_clear()
    with pytest.raises(UserError, match=r"negatives\.yaml"):
        negative_words("nano")
    negative_words.cache_clear()
