"""What a training must be: its flow is the sampler's, conditions fall away as often as said, stages end averaged."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.contract.settings import PhDASettings
from engine.contract.variants import NANO
from engine.nano.model import NanoModel
from engine.sampling.denoise import Conditions
from engine.sampling.phase_negative import NegativeText
from engine.sampling.schedulers import make_scheduler
from engine.sampling.tasks import first_last_frame, reference_slot
from tests.trainer.test_released import features, only, shards  # noqa: F401 (a fixture)
from trainer.data.shards import Shards
from trainer.data.speech.corpus import Corpus
from trainer.data.synthetic_clips import ClipMaker
from trainer.data.tasks import FIRST_LAST_FRAME, IMAGE_TO_VIDEO, LIP_SYNC, TEXT_TO_VIDEO, draw_tasks
from trainer.loop.ema import EMA
from trainer.loop.flow import FlowBatch, flow_loss, predict
from trainer.loop.processes import Processes
from trainer.loop.recipes import RECIPES, NDPORecipe, SFTRecipe, Stage, nano, nano_soup, released_soup
from trainer.loop.training import Trainee, Training
from trainer.objectives.ndpo import Loop
from trainer.objectives.sft import fit
from trainer.subjects.nano_batches import NanoBatches, drawn_phda, dropout
from trainer.subjects.negatives import negatives_of
from trainer.subjects.released import NOTHING_SHOWN_SHARE, ReleasedBatches, known_of

MANY = 20_000


class PointWise(nn.Module):
    """A small velocity field of single numbers: (x_t, sigma) → v."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, noisy: Tensor, tau: Tensor) -> Tensor:
        sigma = (tau / 1000)[:, None, None, None, None].expand_as(noisy)
        return self.net(torch.stack([noisy, sigma], dim=-1)).squeeze(-1)


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
@pytest.mark.parametrize("mean", [2.0, -1.0])
def test_what_is_trained_is_what_the_sampler_integrates(solver: str, mean: float):
    """Train on numbers round `mean`; the engine's own scheduler must lead noise there, not away from it."""
    torch.manual_seed(0)
    model = PointWise()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(250):
        x0 = mean + 0.1 * torch.randn(64, 1, 1, 2, 2)
        batch = FlowBatch(x0, torch.randn_like(x0), torch.rand(64), {})
        flow_loss(predict(model, batch), batch, torch.ones(())).backward()
        optimizer.step()
        optimizer.zero_grad()
    scheduler = make_scheduler(solver, 1.0, 12)
    x = torch.randn(64, 1, 1, 2, 2)
    with torch.no_grad():
        for tau in scheduler.timesteps:
            x = scheduler.step(model(x, tau.expand(64).float()), tau, x, return_dict=False)[0]
    assert float(x.mean()) == pytest.approx(mean, abs=0.15) and float(x.std()) < 0.4


@pytest.mark.parametrize(
    ("text", "audio", "both", "image"), [(0.05, 0.10, 0.05, 0.10), (0.3, 0.0, 0.1, 0.0), (0.0, 0.3, 0.2, 0.5)]
)
def test_every_condition_falls_away_as_often_as_the_recipe_says(text, audio, both, image):
    recipe = replace(nano(), drop_text=text, drop_audio=audio, drop_both=both, drop_image=image)
    kept = dropout(recipe, MANY, torch.Generator().manual_seed(0))
    no_text, no_image, no_audio = (1 - share.flatten() for share in kept)
    for measured, said in [
        (no_text.mean(), text + both),
        (no_audio.mean(), audio + both),
        ((no_text * no_audio).mean(), both),
        (no_image.mean(), image),
        ((no_image * no_audio).mean(), image * (audio + both)),
    ]:
        assert float(measured) == pytest.approx(said, abs=0.012)


def nano_draw(nano_folder: Path, corpus: Path) -> tuple[NanoModel, Callable[[SFTRecipe], FlowBatch]]:
    clips = ClipMaker(Corpus(corpus / "train"), 0, faces=4)
    heard = np.ones((1, 600, 128), np.float16)
    model = NanoModel.load(nano_folder)
    return model, lambda recipe: NanoBatches(recipe, clips, heard).draw(model, 0)


SMALL = replace(nano(), stages=(Stage(6, {IMAGE_TO_VIDEO: 1.0}),), lengths=((2, 48),))


def test_what_fell_away_is_not_in_nanos_batch(nano_folder, toy_corpus_folder):
    _, draw = nano_draw(nano_folder, toy_corpus_folder)
    none = replace(SMALL, drop_text=0.0, drop_audio=0.0, drop_both=0.0, drop_image=0.0)
    whole = draw(none).conditions
    assert all(bool((whole[name] != 0).all()) for name in ("keep_text", "keep_image", "audio"))
    for field, name in [("drop_text", "keep_text"), ("drop_image", "keep_image"), ("drop_audio", "audio")]:
        dropped = draw(replace(none, **{field: 1.0})).conditions
        assert not dropped[name].any()
        assert all(bool(dropped[other].any()) for other in ("keep_text", "keep_image", "audio") if other != name)


def test_what_fell_away_is_not_in_a_released_models_batch(shards: Shards):  # noqa: F811
    none = replace(only(IMAGE_TO_VIDEO), drop_text=0.0, drop_audio=0.0, drop_both=0.0, drop_image=0.0)
    names = {"drop_text": "text", "drop_image": "image", "drop_audio": "audio"}
    for field, name in names.items():
        dropped = ReleasedBatches(replace(none, **{field: 1.0}), shards, "preview", batch=2).draw(0).conditions
        assert not dropped[name].any()
        assert all(bool(dropped[other].any()) for other in names.values() if other != name)


def shifted(sigma: Tensor, shift: float) -> Tensor:
    return shift * sigma / (1 + (shift - 1) * sigma)


@pytest.mark.parametrize("shift", [3.0, 5.0])
def test_noise_levels_are_shifted_as_the_recipe_says(shift, nano_folder, toy_corpus_folder, shards: Shards):  # noqa: F811
    _, draw = nano_draw(nano_folder, toy_corpus_folder)

    def released(recipe: SFTRecipe) -> FlowBatch:
        return ReleasedBatches(recipe, shards, "preview", batch=4).draw(0)

    for sample, recipe in [(draw, SMALL), (released, only(IMAGE_TO_VIDEO))]:
        even, moved = sample(replace(recipe, tau_shift=1.0)), sample(replace(recipe, tau_shift=shift))
        torch.testing.assert_close(moved.sigma, shifted(even.sigma, shift))
        assert bool((moved.sigma > even.sigma).all())


def test_recipes_say_the_papers_shift_and_shares():
    released = released_soup()
    assert released.tau_shift == 5.0 and nano().tau_shift == 3.0
    assert [stage.tasks for stage in released.stages] == [
        {IMAGE_TO_VIDEO: 0.60, FIRST_LAST_FRAME: 0.30, TEXT_TO_VIDEO: 0.10},
        pytest.approx({IMAGE_TO_VIDEO: 0.48, FIRST_LAST_FRAME: 0.24, TEXT_TO_VIDEO: 0.08, LIP_SYNC: 0.20}),
        pytest.approx({IMAGE_TO_VIDEO: 0.39, FIRST_LAST_FRAME: 0.195, TEXT_TO_VIDEO: 0.065, LIP_SYNC: 0.35}),
    ]
    assert [stage.tasks for stage in nano_soup().stages] == [
        {IMAGE_TO_VIDEO: 0.65, FIRST_LAST_FRAME: 0.35},
        pytest.approx({IMAGE_TO_VIDEO: 0.52, FIRST_LAST_FRAME: 0.28, LIP_SYNC: 0.20}),
        pytest.approx({IMAGE_TO_VIDEO: 0.4225, FIRST_LAST_FRAME: 0.2275, LIP_SYNC: 0.35}),
    ]
    drawn = draw_tasks(released.stages[2].tasks, MANY, np.random.default_rng(0))
    assert float((drawn == TEXT_TO_VIDEO).mean()) == pytest.approx(0.065, abs=0.01)
    assert all(RECIPES[name]().name == name for name in RECIPES)


def test_text_to_video_is_nearly_always_shown_nothing():
    clip = features(0)
    latents = clip["latents"]["latents"].float()[None]
    noise = torch.Generator().manual_seed(0)
    shown = [bool(known_of(clip, TEXT_TO_VIDEO, latents, noise)[:, 4:].any()) for _ in range(600)]
    assert np.mean(shown) == pytest.approx(1 - NOTHING_SHOWN_SHARE, abs=0.04) and NOTHING_SHOWN_SHARE == 0.9


def test_the_released_defaults_are_the_designs_breakpoints():
    phda = PhDASettings()
    found = {name: (getattr(phda, name).low, getattr(phda, name).high) for name in ("text", "image", "audio")}
    assert found == {"text": (0.0, 0.0), "image": (200.0, 400.0), "audio": (600.0, 800.0)}


def test_weights_in_training_stand_in_the_papers_order_and_at_the_samples_own_tau(nano_folder, toy_corpus_folder):
    """In the order text, image, audio; far from every breakpoint that can be drawn they are ½ and 1."""
    recipe = replace(SMALL, phda={"text": (0, 0), "image": (200, 400), "audio": (600, 800)})
    tau = torch.full((4000,), 560.0)
    text, image, audio = drawn_phda(recipe, tau, torch.Generator().manual_seed(0)).unbind(1)
    assert bool((text == 1).all()) and bool((image == 1).all())
    assert audio.unique().numel() > 300, "breakpoints are drawn for every sample anew"
    assert 0.5 < float(audio.mean()) < 0.75

    _, draw = nano_draw(nano_folder, toy_corpus_folder)
    batch = draw(replace(recipe, lengths=((2, 48),)))
    tau, weights = 1000 * batch.sigma, batch.conditions["modal_weights"]
    assert bool((weights[tau > 930] == 1).all()) and bool((tau > 930).any())
    assert bool((weights[tau < 470, 2] == 0.5).all()) and bool((tau < 470).any())


def still_training(run: Path, old_share: float, steps: tuple[int, ...]) -> tuple[Training, SFTRecipe, list[Tensor]]:
    """A model of one number that no step changes, whose average begins a whole number above it."""
    run.mkdir()
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    recipe = replace(
        nano(),
        stages=tuple(Stage(count, {IMAGE_TO_VIDEO: 1.0}) for count in steps),
        old_share=old_share,
        learning_rate=0.0,
        final_learning_rate=0.0,
    )

    class Nothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, noisy: Tensor, tau: Tensor) -> Tensor:
            return 0 * self.model.weight.sum() * noisy

    trainee = Trainee(model, model, Nothing(), torch.ones(()), lambda state, folder, note: None)
    training = Training(trainee, run, Processes(), weight_decay=0.0, seen=10**6)
    training.ema.shadow["weight"].fill_(1.0)
    weights: list[Tensor] = []
    return training, recipe, weights


@pytest.mark.parametrize("share", [0.3, 0.05])
def test_a_stage_ends_with_its_average_which_keeps_its_share_of_what_was_before(share: float, tmp_path: Path):
    training, recipe, weights = still_training(tmp_path / "run", share, (3, 5))
    nothing = FlowBatch(torch.zeros(1, 1, 1, 1, 1), torch.zeros(1, 1, 1, 1, 1), torch.ones(1), {})

    def draw(step: int) -> FlowBatch:
        weights.append(training.model.weight.detach().clone())
        return nothing

    fit(training, recipe, draw)
    assert [float(weight) for weight in weights[:3]] == [0, 0, 0]
    # The first stage's average: the old one's share of 1, and zeros. It becomes the model; the second stage's average
    # then mixes it with itself.
    assert [float(weight) for weight in weights[3:]] == pytest.approx([share] * 5, abs=1e-4)
    assert float(training.model.weight.detach()) == pytest.approx(share, abs=1e-4)


def test_an_average_forgets_a_random_start_at_once():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = EMA(model, decay=0.999)
    nn.init.ones_(model.weight)
    left = 1.0
    for step in range(5):
        average.update(model)
        left *= (1 + step) / (10 + step)
        assert float(average.shadow["weight"]) == pytest.approx(1 - left)


@pytest.mark.parametrize(("drift", "stops"), [(0.39, False), (0.41, True), (2.0, True), (float("inf"), True)])
def test_a_block_of_negative_dpo_stops_at_twice_its_budget(drift: float, stops: bool, tmp_path: Path):
    training, recipe, _ = still_training(tmp_path / "run", 0.3, (1, 1))
    loop = Loop(NDPORecipe(forget_budget=0.2), recipe, training, training.model)
    row = {"loss": 1.0, "distance": 0.1, "gradient": 1.0, "drift": drift}
    assert (loop._strays(row) is not None) == stops
    assert loop._strays(row | {"drift": 0.0, "loss": float("nan")}) is not None


def test_only_what_was_generated_can_be_unlearned():
    """A latent of which some frame was generated counts; what was known, and the picture in front, never do."""
    random = torch.Generator().manual_seed(0)
    reference, last = (torch.randn(1, 16, 1, 8, 8, generator=random) for _ in range(2))
    clip = Conditions(
        known=first_last_frame(reference, last, 17),
        text=torch.zeros(1, 1, 4),
        negative=NegativeText(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0, 4), 1),
        image=None,
        audio=torch.zeros(1, 17, 5, 1, 4),
        reference=reference,
        slot=reference_slot(reference),
    )
    latents = torch.randn(1, 16, 5, 8, 8, generator=random)

    def mask(clip: Conditions) -> list[float]:
        (found,) = negatives_of(clip, latents, torch.ones(5), "", NANO.default_settings, window_latent_frames=8)
        return found.mask[0, :, 0, 0].tolist()

    assert mask(clip) == [0, 1, 1, 1, 1], "three of the last latent's four frames were generated"
    unknown_front = clip.known.clone()
    unknown_front[:, :4, 0] = 0
    assert mask(replace(clip, known=unknown_front)) == [0, 1, 1, 1, 1]
    everything_else = clip.known.clone()
    everything_else[:, :4, 2:] = 1
    assert mask(replace(clip, known=everything_else)) == [0, 1, 0, 0, 0]


def test_what_a_clip_weighs_is_what_its_loss_counts(tmp_path: Path):
    """The push of a batch is the sum of its clips' pushes, each times its weight."""
    x0 = torch.randn(2, 1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    eps, ones = torch.randn_like(x0), torch.ones(2, 1, 1, 2, 2)
    real = FlowBatch(x0, eps, torch.full((2,), 0.5), {})

    def push(number: int, weight: list[float]) -> Tensor:
        torch.manual_seed(1)
        model = PointWise()
        frozen = copy.deepcopy(model)
        (tmp_path / str(number)).mkdir()
        trainee = Trainee(model, model, model, torch.ones(()), lambda state, folder, note: None)
        training = Training(trainee, tmp_path / str(number), Processes(), weight_decay=0.0, seen=0)
        pushed: list[Tensor] = []
        training.step = lambda loss, rate, clip: (  # type: ignore[method-assign]
            pushed.append(torch.autograd.grad(loss, model.net[0].weight)[0]),
            0.0,
        )[1]
        loop = Loop(NDPORecipe(sft_weight=0.0), nano(), training, frozen)
        loop.step(0, real, FlowBatch(x0, eps, torch.full((2,), 0.5), {}, ones, torch.tensor(weight)))
        return pushed[0]

    first, second = push(0, [1.0, 0.0]), push(1, [0.0, 1.0])
    torch.testing.assert_close(push(2, [0.5, 1.5]), 0.5 * first + 1.5 * second)
    assert bool(first.abs().sum() > 0) and bool(second.abs().sum() > 0)
