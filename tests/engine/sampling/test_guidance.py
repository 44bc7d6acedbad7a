"""Guidance is the three-branch formula, and does not ask for what it does not need."""

import math

import pytest
import torch

from engine.contract.settings import GuidanceSettings
from engine.sampling.guidance import coefficients, dynamic_scale


@pytest.mark.parametrize(("text", "audio"), [(3.0, 9.0), (1.0, 2.0), (2.0, 2.0), (0.0, 0.0), (0.5, 1.0), (1.0, 1.0)])
def test_guidance_is_the_papers_formula(text: float, audio: float):
    u, t, ta = torch.randn(3, 2, 16, 3, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
    scales = coefficients(GuidanceSettings(text=text, audio=audio), 0, 8)
    assert math.fsum(scales.values()) == pytest.approx(1.0)
    branches = {"u": u, "t": t, "ta": ta}
    guided = sum(scale * branches[name] for name, scale in scales.items())
    torch.testing.assert_close(guided, u + text * (t - u) + audio * (ta - t))


@pytest.mark.parametrize(
    ("text", "audio", "needed"),
    [(3, 9, {"u", "t", "ta"}), (1, 2, {"t", "ta"}), (2, 2, {"u", "ta"}), (1, 1, {"ta"}), (0, 0, {"u"}), (1, 0, {"t"})],
)
def test_a_branch_with_coefficient_zero_is_not_evaluated(text: float, audio: float, needed: set[str]):
    assert set(coefficients(GuidanceSettings(text=text, audio=audio), 0, 8)) == needed


def test_the_dynamic_scale_falls_from_the_whole_to_half():
    scales = [dynamic_scale(4.0, step, 50) for step in range(50)]
    assert scales[0] == pytest.approx(4.0)
    assert scales[-1] == pytest.approx(2.0, abs=1e-3)
    assert scales == sorted(scales, reverse=True)
    assert dynamic_scale(4.0, 1, 8) == pytest.approx(2 + 2 * (1 - math.cos(math.pi * (7 / 8) ** 5)) / 2)


def test_dynamic_guidance_scales_both():
    settings = GuidanceSettings(text=2.0, audio=3.0, dynamic=True)
    text, audio = dynamic_scale(2.0, 4, 8), dynamic_scale(3.0, 4, 8)
    assert coefficients(settings, 4, 8) == pytest.approx({"u": 1 - text, "t": text - audio, "ta": audio})
