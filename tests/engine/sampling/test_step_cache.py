"""Step caches really skip, keep branches apart, and are gone afterwards; presets cost what they say.

Forwards of the blocks (NFE) are counted by hooks on the last block, so that a cache that does nothing in silence, or
skips what it must not, is caught.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from engine.contract.request import build_request
from engine.contract.settings import Settings
from engine.sampling.denoise import Conditions, denoise
from engine.sampling.phase_negative import NegativeText
from engine.sampling.step_cache import CacheSettings, TeaCache, step_cache
from engine.sampling.tasks import image_to_video, reference_slot, to_video_frames
from engine.wan.memory import place
from engine.wan.transformer import EchoMimicTransformer3DModel

KINDS = {"magcache": 0.1, "teacache": 0.1, "taylorseer": 0.1, "first_block": 0.05}
"""Every kind with a threshold at which it skips some steps of these weights and not most."""


@pytest.fixture(scope="module")
def transformer() -> EchoMimicTransformer3DModel:
    torch.manual_seed(0)
    model = EchoMimicTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=8,
        freq_dim=32,
        ffn_dim=32,
        num_layers=3,
        image_dim=10,
        audio_dim=6,
    ).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def conditions(latent_frames: int = 3) -> Conditions:
    random = torch.Generator().manual_seed(1)
    reference = torch.randn(1, 16, 1, 4, 4, generator=random)
    frames = to_video_frames(latent_frames)
    return Conditions(
        reference=reference,
        known=image_to_video(reference, frames),
        slot=reference_slot(reference),
        text=torch.randn(1, 9, 8, generator=random),
        negative=NegativeText(*(torch.randn(n, 8, generator=random) for n in (2, 3, 3)), 9),
        image=torch.randn(1, 4, 10, generator=random),
        audio=torch.randn(1, 2 * frames, 6, generator=random),
    )


@contextmanager
def counted(model: EchoMimicTransformer3DModel) -> Iterator[dict[str, int]]:
    """How many rows went through the last block's feed-forward, and through the output projection."""
    rows = {"blocks": 0, "output": 0}

    def count(name: str):
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            rows[name] += len(inputs[0])

        return hook

    hooks = [
        model.blocks[-1].ffn.register_forward_hook(count("blocks")),
        model.proj_out.register_forward_hook(count("output")),
    ]
    yield rows
    for hook in hooks:
        hook.remove()


def run(model: EchoMimicTransformer3DModel, settings: Settings, clip: Conditions | None = None) -> Tensor:
    return denoise(
        model, clip or conditions(), settings, window_latent_frames=8, seed=0, watch=lambda done, clean: None
    )


def preview(steps: int, speed: str | None = None, model: str = "preview", **overrides) -> Settings:
    values = {"audio": "a.wav", "image": "a.png", "out": "o.mp4", "model": model}
    return build_request(values, {"sampling.steps": steps, **overrides}, speed_preset=speed).settings


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_skips_and_stays_near(transformer, kind: str):
    whole = run(transformer, preview(25))
    with counted(transformer) as rows:
        cached = run(transformer, preview(25, **{"cache.kind": kind, "cache.threshold": KINDS[kind]}))
    assert 3 * 3 <= rows["blocks"] < 75
    assert not torch.equal(cached, whole)
    assert float((cached - whole).norm() / whole.norm()) < 0.2
    assert torch.equal(run(transformer, preview(25)), whole), "the cache must be gone afterwards"


@pytest.mark.parametrize("kind", KINDS)
def test_branches_keep_apart_behind_a_skipped_step(transformer, kind: str):
    """Audio guidance would be exactly nothing if the silent branch's residual served the audible one."""
    clip = conditions()
    cached = {"cache.kind": kind, "cache.threshold": KINDS[kind]}
    quiet = run(transformer, preview(25, **cached, **{"guidance.audio": 1.0}), clip)
    with counted(transformer) as rows:
        loud = run(transformer, preview(25, **cached, **{"guidance.audio": 6.0}), clip)
    assert rows["blocks"] < 75
    exact = [run(transformer, preview(25, **{"guidance.audio": scale}), clip) for scale in (1.0, 6.0)]
    assert float((loud - quiet).norm()) == pytest.approx(float((exact[1] - exact[0]).norm()), rel=0.35)


@pytest.mark.parametrize(
    ("model", "steps", "speed", "allowed"),
    [
        ("preview", 25, "exact", range(75, 75 + 1)),
        ("preview", 25, "balanced", range(20, 36 + 1)),
        ("preview", 25, "fast", range(18, 30 + 1)),
        ("preview", 25, "draft", range(10, 24 + 1)),
        ("preview", 5, "exact", range(15, 15 + 1)),
        ("preview", 5, "fast", range(5, 11 + 1)),
        ("flash", 8, "exact", range(16, 16 + 1)),
        ("flash", 8, None, range(16, 16 + 1)),
    ],
)
def test_a_preset_costs_what_it_says(transformer, model: str, steps: int, speed: str | None, allowed: range):
    with counted(transformer) as rows:
        run(transformer, preview(steps, speed, model))
    print(f"{model} {steps} steps {speed}: {rows['blocks']} NFE")
    assert rows["blocks"] in allowed


def test_equal_scales_and_scales_of_one_leave_branches_out_exactly(transformer):
    for text, audio, branches in ((3.0, 3.0, 2), (1.0, 2.0, 2), (1.0, 1.0, 1), (4.0, 2.0, 3)):
        with counted(transformer) as rows:
            run(transformer, preview(5, **{"guidance.text": text, "guidance.audio": audio}))
        assert rows["blocks"] == 5 * branches


@pytest.mark.parametrize("mode", ["phase", "reference", "off"])
def test_negative_guidance_takes_no_forwards_of_its_own(transformer, mode: str):
    with counted(transformer) as rows:
        run(transformer, preview(6, **{"png.mode": mode}))
    assert rows["blocks"] == 18


def test_kept_conditions_and_caches_agree_with_the_plain_loop(transformer):
    clip = conditions(14)
    kept = run(transformer, preview(6), clip)
    plain = run(transformer, preview(6, **{"cache.conditions": False}), clip)
    torch.testing.assert_close(kept, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_does_the_same_where_blocks_come_to_the_device_one_by_one(transformer, kind: str):
    cached = preview(25, **{"cache.kind": kind, "cache.threshold": KINDS[kind]})
    offloaded = copy.deepcopy(transformer)
    place(offloaded, "low", torch.device("cpu"), torch.float32)
    with counted(offloaded) as rows:
        made = run(offloaded, cached)
    assert rows["blocks"] < 75
    assert torch.equal(made, run(transformer, cached))


def test_tea_cache_runs_the_first_and_the_last_step_and_forgets_on_reset():
    tea, tokens = TeaCache(threshold=1e9, num_steps=10), torch.ones(1, 4, 2)
    ran = []

    def blocks(x: Tensor) -> Tensor:
        ran.append(step)
        return 2 * x

    for step in range(10):
        tea(tokens, torch.full((1, 6, 2), 1.0 + 0.01 * step), blocks)
    assert ran == [0, 1, 9]
    ran.clear()
    tea.reset()
    step = 10
    tea(tokens, torch.ones(1, 6, 2), blocks)
    assert ran == [10]


def test_off_is_no_cache(transformer):
    with step_cache(transformer, CacheSettings(kind="off"), 25) as cache:
        assert cache is None
        assert not transformer.is_cache_enabled
