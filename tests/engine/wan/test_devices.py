"""Precision, kernels and compilation: what changes speed does not change what comes out."""

from pathlib import Path

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from engine.contract.settings import RuntimeSettings
from engine.sampling.condition_cache import ConditionCache
from engine.wan.devices import DTYPES, best_precision, dtype_of, plan, tune
from engine.wan.memory import place
from tests.engine.wan.test_memory import PARITY, output, tiny
from tests.released_layout import write_released_model


def test_a_cpu_computes_in_float32_and_what_is_asked_is_taken():
    assert best_precision(torch.device("cpu")) == "fp32"
    assert best_precision(torch.device("mps")) == "fp32"
    assert {name: dtype_of(name) for name in DTYPES} == DTYPES


def test_compiled_blocks_say_the_same_with_and_without_kept_conditions():
    model = tiny()
    before = output(model)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    tune(model, RuntimeSettings(compile=True), compiler="aot_eager")
    torch.testing.assert_close(output(model), before, atol=1e-5, rtol=1e-5)
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert compiled > 0
    cache = ConditionCache()
    for _ in range(3):
        kept = output(model, cached=cache.rows(["a"], ["b"], ["c"]))
        torch.testing.assert_close(kept, before, atol=1e-5, rtol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2 * compiled, "a step must not compile anew"


def test_quantised_blocks_are_not_compiled_and_the_plan_says_so(tmp_path: Path):
    model = tiny()
    place(model, "quantised", torch.device("cpu"), torch.float32)
    tune(model, RuntimeSettings(compile=True, memory="quantised"))
    assert all(block._compiled_call_impl is None for block in model.blocks)
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)
    clip = {"num_frames": 25, "size": (768, 768), "window_latent_frames": 29}
    for mode in ("quantised", "low"):
        _, said = plan(folder, RuntimeSettings(compile=True, memory=mode), **clip)
        assert ("compile is left out" in said) == (mode == "quantised")


def test_the_plan_counts_the_clips_own_frames_up_to_a_window(tmp_path: Path):
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)

    def gigabytes(frames: int) -> float:
        runtime = RuntimeSettings(memory="low", precision="fp32")
        decided, said = plan(folder, runtime, num_frames=frames, size=(1024, 1024), window_latent_frames=29)
        assert decided == runtime and f"{frames} frames at 1024×1024" in said
        return float(said.split("about ")[1].split(" GB")[0])

    assert gigabytes(25) < gigabytes(113) == gigabytes(1000)


def test_another_kernel_is_really_used_and_says_the_same(monkeypatch):
    model = tiny()
    before = output(model)
    used = []
    name = AttentionBackendName._NATIVE_MATH
    kernel = _AttentionBackendRegistry._backends[name]

    def watched(*args, **kwargs):
        used.append(1)
        return kernel(*args, **kwargs)

    monkeypatch.setitem(_AttentionBackendRegistry._backends, name, watched)
    model.set_attention_backend(name.value)
    torch.testing.assert_close(output(model), before, atol=1e-5, rtol=1e-5)
    assert len(used) == 3 * 3  # itself, text and image in three blocks; few keys of audio stay with the native kernel
