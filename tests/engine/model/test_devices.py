"""Precision, kernels and compilation: what changes speed does not change what comes out."""

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from engine.model.condition_cache import ConditionCache
from engine.model.devices import DTYPES, best_precision, dtype_of, tune
from engine.settings import RuntimeSettings
from tests.engine.model.test_memory import output, tiny


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
