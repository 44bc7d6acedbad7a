"""The loop integrates the flow, of any length of clip, with any solver, and tells its watcher about it.

The models are small and real: an exact flow whose answer is known, and a transformer with random weights.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from engine.contract.errors import Cancelled
from engine.contract.settings import GuidanceSettings, LongVideoSettings, PhDASettings, SamplingSettings, Settings
from engine.sampling.denoise import Conditions, Stretch, denoise
from engine.sampling.phase_negative import NegativeText
from engine.sampling.phda import modal_weights
from engine.sampling.resume import STATE_FILE, ClipKeeper
from engine.sampling.schedulers import make_scheduler
from engine.sampling.tasks import image_to_video, reference_slot, to_video_frames
from engine.wan.transformer import EchoMimicTransformer3DModel

WINDOW = 16


class StraightFlow(nn.Module):
    """The exact velocity of a flow that ends at the given numbers: each content latent at its audio's first feature."""

    def forward(self, hidden_states: Tensor, timestep: Tensor, *_, encoder_hidden_states_audio: Tensor, **__):
        x, known = hidden_states[:, :16], hidden_states[:, 20:]
        # Token 8 i of a window's audio is the first one of the last video frame of its latent i.
        end = encoder_hidden_states_audio[:, ::8, 0][:, None, :, None, None].expand_as(x).clone()
        end[:, :, :1] = known[:, :, :1]
        return ((x - end) / (timestep / 1000)[:, None, None, None, None],)


def conditions(latent_frames: int, audio_dim: int = 6) -> Conditions:
    generator = torch.Generator().manual_seed(1)
    reference = torch.randn(1, 16, 1, 4, 4, generator=generator)
    num_frames = to_video_frames(latent_frames)
    audio = torch.arange(2.0 * num_frames)[None, :, None].expand(1, -1, audio_dim) / (2 * num_frames)
    return Conditions(
        reference=reference,
        known=image_to_video(reference, num_frames),
        slot=reference_slot(reference),
        text=torch.randn(1, 5, 8, generator=generator),
        negative=NegativeText(torch.zeros(0, 8), torch.zeros(0, 8), torch.zeros(0, 8), 5),
        image=torch.randn(1, 4, 10, generator=generator),
        audio=audio,
    )


def ignore(done: float, clean: Tensor | None) -> None:
    pass


def settings(steps: int = 4, solver: str = "euler", text: float = 1.0, audio: float = 1.0) -> Settings:
    return Settings(
        sampling=SamplingSettings(steps=steps, solver=solver),
        guidance=GuidanceSettings(text=text, audio=audio),
        phda=PhDASettings(),
    )


@pytest.fixture(scope="module")
def transformer() -> EchoMimicTransformer3DModel:
    torch.manual_seed(0)
    model = EchoMimicTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=8,
        freq_dim=16,
        ffn_dim=32,
        num_layers=1,
        image_dim=10,
        audio_dim=6,
    ).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
@pytest.mark.parametrize("latent_frames", [2, 17, 18, 42])
def test_an_exact_flow_arrives_where_it_leads(solver: str, latent_frames: int):
    clip = conditions(latent_frames)
    got = denoise(StraightFlow(), clip, settings(8, solver), window_latent_frames=WINDOW, seed=0, watch=ignore)
    torch.testing.assert_close(got[:, :, :1], clip.reference, atol=0, rtol=0)
    wanted = clip.audio[0, ::8, 0][1:latent_frames]
    # UniPC's timesteps are whole numbers, so its sigma and its tau differ by up to 0.001.
    torch.testing.assert_close(got[0, 0, 1:, 0, 0], wanted, atol=0.02, rtol=0)


def test_every_estimate_of_an_exact_flow_is_its_end():
    clip = conditions(20)
    estimates = []

    def watch(done: float, clean: Tensor | None) -> None:
        if clean is not None:
            estimates.append((done, clean))

    got = denoise(StraightFlow(), clip, settings(), window_latent_frames=WINDOW, seed=0, watch=watch)
    assert [done for done, _ in estimates] == [1, 2, 3, 4]
    for _, clean in estimates:
        torch.testing.assert_close(clean[:, :, 1:], got[:, :, 1:], atol=1e-3, rtol=0)


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
def test_the_same_seed_gives_the_same_clip_and_another_seed_another(transformer: nn.Module, solver: str):
    def run(seed: int) -> Tensor:
        return denoise(
            transformer, conditions(30), settings(3, solver), window_latent_frames=WINDOW, seed=seed, watch=ignore
        )

    first = run(5)
    assert torch.equal(first, run(5))
    assert not torch.allclose(first, run(6))


def test_one_step_is_one_euler_step_of_the_guided_velocity_of_one_window(transformer: nn.Module):
    clip, chosen = conditions(5), settings(1, text=2.0, audio=3.0)
    noise = torch.randn(1, 16, 5, 4, 4, generator=torch.Generator().manual_seed(9))

    def velocity(text: Tensor, audio: Tensor) -> Tensor:
        return transformer(
            torch.cat([noise, clip.known], dim=1),
            torch.tensor([1000.0]),
            text,
            clip.image,
            encoder_hidden_states_audio=audio,
            modal_weights=torch.ones(1, 3),
            return_dict=False,
        )[0]

    with torch.inference_mode():
        silence = torch.zeros_like(clip.audio)
        u, t, ta = (
            velocity(torch.zeros(1, 5, 8), silence),
            velocity(clip.text, silence),
            velocity(clip.text, clip.audio),
        )
    expected = noise - (u + 2.0 * (t - u) + 3.0 * (ta - t))
    got = denoise(transformer, clip, chosen, window_latent_frames=WINDOW, seed=9, watch=ignore)
    torch.testing.assert_close(got[:, :, 1:], expected[:, :, 1:], atol=1e-4, rtol=1e-4)


def test_a_later_window_sees_the_reference_out_of_time_at_the_same_noise_level():
    seen = []

    class Witness(StraightFlow):
        def forward(self, hidden_states: Tensor, timestep: Tensor, *args, **kwargs):
            seen.extend((row.clone(), float(tau)) for row, tau in zip(hidden_states, timestep, strict=True))
            return super().forward(hidden_states, timestep, *args, **kwargs)

    clip = conditions(30)
    denoise(Witness(), clip, settings(2), window_latent_frames=WINDOW, seed=3, watch=ignore)
    noise = torch.randn(1, 16, 30, 4, 4, generator=torch.Generator().manual_seed(3))
    marks = [row[16:20, 0, 0, 0].tolist() for row, _ in seen]
    assert marks.count([1, 1, 1, 1]) == 2 and marks.count([1, 0, 0, 0]) == 4
    for (row, tau), mark in zip(seen, marks, strict=True):
        sigma = tau / 1000
        if mark == [1, 0, 0, 0]:
            expected = (1 - sigma) * clip.reference[0] + sigma * noise[0, :, :1]
            torch.testing.assert_close(row[:16, :1], expected)
        assert (row[16:20, 1:] == 0).all()


def test_the_watcher_hears_of_every_forward_and_can_stop_the_clip(transformer: nn.Module):
    heard = []

    def watch(done: float, clean: Tensor | None) -> None:
        heard.append(done)
        if done >= 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        denoise(transformer, conditions(80), settings(audio=2.0), window_latent_frames=WINDOW, seed=0, watch=watch)
    assert heard == sorted(heard)
    assert 0 < heard[0] < 1 and heard[-1] == 2


def test_forwards_side_by_side_give_the_same_clip(transformer: nn.Module):
    def run(workers: int) -> Tensor:
        chosen = settings(2, text=2.0, audio=3.0)
        return denoise(
            transformer, conditions(45), chosen, window_latent_frames=WINDOW, seed=1, watch=ignore, workers=workers
        )

    torch.testing.assert_close(run(1), run(3), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
def test_a_stretch_is_made_anew_alone_and_its_neighbours_are_known(transformer: nn.Module, solver: str):
    clip, seen = conditions(60), []

    def witness(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0][:, 16:20, 1:, 0, 0].clone())

    def run(seed: int, stretch: Stretch | None = None) -> Tensor:
        chosen = settings(3, solver, audio=2.0)
        return denoise(transformer, clip, chosen, window_latent_frames=WINDOW, seed=seed, watch=ignore, stretch=stretch)

    finished = run(1)
    hook = transformer.register_forward_pre_hook(witness)
    again = run(2, Stretch(finished, 20, 26))
    hook.remove()
    changed = (again - finished).abs().amax(dim=(0, 1, 3, 4)) > 0
    assert changed.nonzero().flatten().tolist() == [*range(20, 26)]
    assert (changed[20:26]).all()
    # Every window that is computed holds known neighbours (1111) and the unknown stretch (0000), nothing else.
    assert seen and all(set(rows.flatten().tolist()) == {0.0, 1.0} for rows in seen)
    assert max(rows.shape[2] for rows in seen) <= WINDOW


@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
def test_a_killed_clip_goes_on_from_its_last_finished_step(transformer: nn.Module, tmp_path, solver: str):
    class Killed(Exception):
        pass

    chosen, clip, heard = settings(5, solver, text=2.0, audio=3.0), conditions(40), []

    def run(folder, kill_at: float = 9.0, clip_id: str = "a") -> Tensor:
        def watch(done: float, clean: Tensor | None) -> None:
            heard.append(done)
            if done > kill_at:
                raise Killed

        keeper = ClipKeeper(folder, clip_id)
        return denoise(transformer, clip, chosen, window_latent_frames=WINDOW, seed=4, watch=watch, keeper=keeper)

    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=3.2)
    heard.clear()
    torch.testing.assert_close(run(tmp_path / "killed"), whole, atol=0, rtol=0)
    assert heard[0] > 3, "the finished steps must not be done again"
    heard.clear()
    run(tmp_path / "killed", clip_id="another clip")
    assert heard[0] < 1, "another clip finds nothing"


def test_a_state_that_was_cut_off_is_no_state(tmp_path):
    keeper = ClipKeeper(tmp_path, "a")
    (tmp_path / STATE_FILE).write_bytes(b"half")
    assert keeper.load(None) is None


@pytest.mark.parametrize("mode", ["all", "paper", "off"])
def test_every_mode_makes_the_same_of_a_clip_of_one_window(transformer: nn.Module, mode: str):
    def run(mode: str) -> Tensor:
        chosen = settings(2, text=2.0, audio=3.0).model_copy(update={"long_video": LongVideoSettings(mode=mode)})
        return denoise(transformer, conditions(12), chosen, window_latent_frames=WINDOW, seed=0, watch=ignore)

    torch.testing.assert_close(run(mode), run("all"), atol=1e-5, rtol=1e-5)


def test_paper_blends_what_is_conditional_and_takes_the_rest_from_the_left(transformer: nn.Module):
    """With text guidance off the unconditional branch is not read, and Eq. 4 is the default."""

    def run(mode: str, text: float) -> Tensor:
        chosen = settings(2, text=text, audio=3.0).model_copy(update={"long_video": LongVideoSettings(mode=mode)})
        return denoise(transformer, conditions(40), chosen, window_latent_frames=WINDOW, seed=0, watch=ignore)

    torch.testing.assert_close(run("paper", 1.0), run("all", 1.0), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(run("paper", 3.0), run("all", 3.0), atol=1e-3)


def test_a_clip_without_words_needs_no_branch_for_what_they_are_not(transformer: nn.Module):
    clip = replace(conditions(20), text=torch.zeros(1, 5, 8))
    counted: list[int] = []
    count = transformer.register_forward_pre_hook(lambda module, given: counted.append(len(given[0])))

    def run(text: float) -> tuple[Tensor, int]:
        counted.clear()
        latents = denoise(
            transformer, clip, settings(3, text=text, audio=2.0), window_latent_frames=WINDOW, seed=1, watch=ignore
        )
        return latents, sum(counted)

    (plain, rows), (guided, guided_rows) = run(1.0), run(3.0)
    count.remove()
    torch.testing.assert_close(guided, plain)
    assert guided_rows == rows


class Witness(nn.Module):
    """Keeps what timestep and modal weights it was given; its flow goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.taus: list[Tensor] = []
        self.weights: list[Tensor] = []

    def forward(self, hidden_states: Tensor, timestep: Tensor, *_, modal_weights: Tensor, **__):
        self.taus.append(timestep)
        self.weights.append(modal_weights)
        return (torch.zeros_like(hidden_states[:, :16]),)


def in_dtype(clip: Conditions, dtype: torch.dtype) -> Conditions:
    text = clip.negative
    return replace(
        clip,
        **{name: getattr(clip, name).to(dtype) for name in ("known", "slot", "text", "image", "audio", "reference")},
        negative=NegativeText(text.own.to(dtype), text.motion.to(dtype), text.detail.to(dtype), text.length),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("solver", ["euler", "unipc", "dpm++"])
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_the_network_is_told_the_schedulers_own_tau_whatever_it_computes_in(dtype, solver, shift):
    asked = settings(steps=8, solver=solver)
    asked = asked.model_copy(
        update={
            "sampling": asked.sampling.model_copy(update={"shift": shift}),
            "phda": PhDASettings(enabled=True),
        }
    )
    witness = Witness()
    denoise(witness, in_dtype(conditions(7), dtype), asked, window_latent_frames=WINDOW, seed=0, watch=ignore)
    taus = make_scheduler(solver, shift, 8).timesteps
    assert [tau.dtype for tau in witness.taus] == [torch.float32] * 8
    assert [float(tau) for tau in witness.taus] == [float(tau) for tau in taus.float()]
    expected = [modal_weights(asked.phda, float(tau)) for tau in taus]
    assert torch.equal(torch.cat(witness.weights), torch.stack([row.flatten() for row in expected]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_what_was_given_as_the_first_latent_comes_back_unrounded(dtype):
    clip = conditions(7)
    half = replace(in_dtype(clip, dtype), reference=clip.reference)
    end = denoise(Witness(), half, settings(), window_latent_frames=WINDOW, seed=0, watch=ignore)
    assert end.dtype == torch.float32 and torch.equal(end[:, :, :1], clip.reference)
