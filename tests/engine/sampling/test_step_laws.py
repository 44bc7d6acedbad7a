"""What the network is asked at a step, seen from inside it, and what its answers become."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from engine.contract.settings import (
    CacheSettings,
    GuidanceSettings,
    LongVideoSettings,
    PhaseNegativeSettings,
    Settings,
)
from engine.sampling.denoise import denoise
from engine.sampling.guidance import scales
from engine.sampling.long_video import Window, left_weights
from engine.sampling.phase_negative import NegativeText
from engine.sampling.schedulers import make_scheduler
from engine.sampling.tasks import first_last_frame, image_to_video, lip_sync, reference_slot, text_to_video
from tests.engine.sampling.test_denoise import WINDOW, conditions, ignore, settings, transformer  # noqa: F401 (a fixture)

WINDOWED = LongVideoSettings(window_latent_frames=6, overlap_latent_frames=2)


def run(model: nn.Module, clip, asked: Settings, window: int = WINDOW, seed: int = 0) -> Tensor:
    return denoise(model, clip, asked, window_latent_frames=window, seed=seed, watch=ignore)


class Echo(nn.Module):
    """Its velocity is the loudest of what it hears, everywhere; it keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, hidden_states: Tensor, timestep: Tensor, *_, encoder_hidden_states_audio: Tensor, **__):
        self.calls.append((hidden_states, encoder_hidden_states_audio))
        heard = encoder_hidden_states_audio.flatten(1).amax(dim=1)
        return (heard[:, None, None, None, None] * torch.ones_like(hidden_states[:, :16]),)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("text", "audio"), [(1.0, 2.0), (3.0, 2.0), (1.0, 0.0), (2.0, 2.0)])
def test_only_the_audible_branch_hears_the_voice(text: float, audio: float, keep: bool):
    """u and t hear silence, so a velocity that is what was heard is scaled by the audio guidance alone."""
    asked = settings(steps=3, text=text, audio=audio).model_copy(update={"cache": CacheSettings(conditions=keep)})
    clip = conditions(5)
    clip = replace(clip, negative=NegativeText(torch.ones(1, 8), torch.zeros(0, 8), torch.zeros(0, 8), 5))
    end = run(Echo(), clip, asked)
    start = torch.randn(1, 16, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = start - audio * float(clip.audio.max())
    torch.testing.assert_close(end[:, :, 1:], expected[:, :, 1:])


@pytest.mark.parametrize(("share", "steps"), [(0.5, 8), (0.4, 10), (0.0, 5), (1.0, 6), (0.3, 8)])
def test_guidance_is_the_late_phases_from_its_share_of_the_steps_on(share: float, steps: int):
    asked = GuidanceSettings(text=3.0, audio=2.0, early_share=share, late_text=1.5, late_audio=1.25)
    course = [scales(asked, step, steps) for step in range(steps)]
    early = sum(step < share * steps for step in range(steps))
    assert course == [(3.0, 2.0)] * early + [(1.5, 1.25)] * (steps - early)


@pytest.mark.parametrize("cached", [True, False])
def test_the_negative_text_is_boosted_anew_where_a_phase_of_png_begins(transformer, cached: bool):  # noqa: F811
    """With what the conditions become kept, and without, at every step the text of its own phase."""
    random = torch.Generator().manual_seed(2)
    groups = [torch.randn(2, 8, generator=random) for _ in range(3)]
    text = torch.randn(1, 8, 8, generator=random)
    clip = replace(conditions(5), text=text, negative=NegativeText(*groups, 8))
    png = PhaseNegativeSettings(mode="phase", boost=4.0, motion_share=0.4, detail_below=500.0)
    asked = settings(steps=6, text=4.0, audio=2.0).model_copy(
        update={"png": png, "cache": CacheSettings(conditions=cached)}
    )
    seen: list[Tensor] = []
    embedder = transformer.condition_embedder.text_embedder
    hook = embedder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    end = run(transformer, clip, asked)
    hook.remove()
    plain = run(transformer, clip, asked.model_copy(update={"cache": CacheSettings(conditions=False)}))
    torch.testing.assert_close(end, plain, atol=1e-4, rtol=1e-4)
    texts = {tuple(row[2:6].flatten().tolist()) for text in seen for row in text}
    boosted = {(4.0, 1.0), (1.0, 1.0), (1.0, 4.0)}
    expected = {tuple(torch.cat([m * groups[1], d * groups[2]]).flatten().tolist()) for m, d in boosted}
    assert expected <= texts


def test_eq_4s_unconditional_branch_is_the_leftmost_windows():
    rows = left_weights([Window(0, 6), Window(4, 10), Window(8, 14)])
    assert [row.tolist() for row in rows] == [[1] * 6, [0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]]


class SlotTeller(nn.Module):
    """Moves a front that is in time (1111) by 1, and one that is out of it (1000) by 100; all else stays."""

    def __init__(self) -> None:
        super().__init__()
        self.fronts: list[Tensor] = []

    def forward(self, hidden_states: Tensor, timestep: Tensor, *_, **__):
        velocity = torch.zeros_like(hidden_states[:, :16])
        for row, given in zip(velocity, hidden_states, strict=True):
            self.fronts.append(given[:, 0])
            row[:, 0] = 1.0 if bool((given[16:20, 0] == 1).all()) else 100.0
        return (velocity,)


def test_later_windows_see_the_picture_out_of_time_and_do_not_move_the_first_latent():
    model = SlotTeller()
    clip = conditions(13)
    run(model, clip, settings(steps=2).model_copy(update={"long_video": WINDOWED}))
    masks = [front[16:20, 0, 0].tolist() for front in model.fronts]
    per_step = len(masks) // 2
    assert per_step >= 3
    for step in range(2):
        assert masks[step * per_step : (step + 1) * per_step] == [[1] * 4] + [[1, 0, 0, 0]] * (per_step - 1)
    for front in model.fronts:
        torch.testing.assert_close(front[20:], clip.reference[0, :, 0])
    sigmas = make_scheduler("euler", settings().sampling.shift, 2).sigmas
    first, second = model.fronts[0][:16], model.fronts[per_step][:16]
    torch.testing.assert_close(second - first, torch.full_like(first, float(sigmas[1] - sigmas[0])))


@pytest.mark.parametrize("solver", ["unipc", "dpm++"])
def test_a_solver_of_second_order_follows_a_bend_better_than_euler(solver: str):
    """The exact flow of numbers round 1 with deviation ½: x(σ) = 1 − σ + z·sqrt((1 − σ)²/4 + σ²)."""

    def spread(sigma: Tensor) -> Tensor:
        return ((1 - sigma) ** 2 / 4 + sigma**2).sqrt()

    def error(name: str) -> float:
        scheduler = make_scheduler(name, 1.0, 10)
        z = torch.linspace(-2, 2, 9)[None, None, None, None]
        x = 1 - scheduler.sigmas[0] + z * spread(scheduler.sigmas[0])
        for sigma, tau in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
            score = (x - (1 - sigma)) / spread(sigma)
            velocity = -1 + score * (sigma - (1 - sigma) / 4) / spread(sigma)
            x = scheduler.step(velocity, tau, x, return_dict=False)[0]
        return float((x - (1 + z / 2)).abs().max())

    assert make_scheduler(solver, 1.0, 10).config.solver_order == 2
    assert error(solver) < 0.4 * error("euler")


def test_every_task_says_what_is_known_and_no_more():
    random = torch.Generator().manual_seed(0)
    first, last = (torch.randn(1, 16, 1, 4, 4, generator=random) for _ in range(2))
    clip = torch.randn(1, 16, 4, 4, 4, generator=random)
    nothing = text_to_video(clip)
    assert nothing.shape == (1, 20, 4, 4, 4) and not nothing.any()

    talking = image_to_video(first, 13)
    assert torch.equal(talking[0, :4, :, 0, 0].T, torch.tensor([[1.0] * 4] + [[0.0] * 4] * 3))

    for known_at_end in (1, 2, 3, 4):
        both = first_last_frame(first, last, 13, known_at_end)
        end = [0.0] * (4 - known_at_end) + [1.0] * known_at_end
        assert torch.equal(both[0, :4, :, 0, 0].T, torch.tensor([[1.0] * 4, [0.0] * 4, [0.0] * 4, end]))
        assert torch.equal(both[:, 4:, :1], first) and torch.equal(both[:, 4:, -1:], last)
        assert not both[:, 4:, 1:-1].any()

    generate = torch.zeros(1, 1, 4, 4)
    generate[..., 2:, :] = 1
    lips = lip_sync(clip * (1 - generate), generate)
    assert bool((lips[:, :4, :, :2] == 1).all()) and not lips[:, :, :, 2:].any()
    assert torch.equal(lips[:, 4:, :, :2], clip[:, :, :, :2])
    assert reference_slot(first)[0, :4, 0, 0, 0].tolist() == [1, 0, 0, 0]
