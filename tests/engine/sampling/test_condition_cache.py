"""Conditions that are kept change nothing: not the output, and not which condition a row reads."""

from functools import partial

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName
from torch import Tensor, nn

from engine.sampling.condition_cache import ConditionCache
from engine.wan import cdca
from engine.wan.transformer import EchoMimicTransformer3DModel


@pytest.fixture(scope="module", params=["preview", "flash"])
def transformer(request) -> EchoMimicTransformer3DModel:
    torch.manual_seed(0)
    model = EchoMimicTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=8,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        image_dim=10,
        audio_projection=request.param,
        audio_dim=6,
        audio_layers=3,
        audio_intermediate_dim=8,
        audio_context_tokens=4,
    ).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def inputs(model: EchoMimicTransformer3DModel, rows: int = 3) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    audio = draw(rows, 18, 6) if model.config.audio_projection == "preview" else draw(rows, 9, 5, 3, 6)
    return {
        "hidden_states": draw(rows, 36, 3, 4, 6),
        "timestep": torch.full((rows,), 400.0),
        "encoder_hidden_states": draw(rows, 7, 8),
        "encoder_hidden_states_image": draw(1, 5, 10).expand(rows, -1, -1),
        "encoder_hidden_states_audio": audio,
        "modal_weights": torch.tensor([[0.7, 0.5, 0.9]]).expand(rows, -1),
    }


@torch.inference_mode()
def run(model: nn.Module, given: dict[str, Tensor], **more) -> Tensor:
    return model(**given, **more).sample


def test_kept_conditions_give_the_same_output_at_the_first_step_and_at_later_ones(transformer):
    given, cache = inputs(transformer), ConditionCache()
    names = (["a", "b", "c"], ["picture"] * 3, ["x", "y", "z"])
    for tau in (900.0, 400.0, 100.0):
        given["timestep"] = torch.full((3,), tau)
        torch.testing.assert_close(run(transformer, given, cached=cache.rows(*names)), run(transformer, given))


def test_what_is_kept_is_not_computed_again(transformer):
    given, cache = inputs(transformer), ConditionCache()
    calls: list[str] = []
    watched = {
        name: module for name, module in transformer.named_modules() if name.endswith(("to_k_audio", "add_k_proj"))
    }
    hooks = [module.register_forward_hook(lambda *_, name=name: calls.append(name)) for name, module in watched.items()]
    for _ in range(3):
        run(transformer, given, cached=cache.rows(["a", "b", "b"], ["p"] * 3, ["x", "y", "z"]))
    for hook in hooks:
        hook.remove()
    assert sorted(calls) == sorted(name for name in watched for _ in range(3 if name.endswith("to_k_audio") else 1))


def test_a_voice_beyond_the_limit_is_computed_anew_and_the_output_stays(transformer):
    given = inputs(transformer)
    names = (["a", "b", "c"], ["p"] * 3, ["x", "y", "z"])
    for limit in (0, 30_000, 10**9):
        cache = ConditionCache(audio_limit_bytes=limit)
        for _ in range(2):
            torch.testing.assert_close(run(transformer, given, cached=cache.rows(*names)), run(transformer, given))
        kept = [part for (_, modality, _), parts in cache._kept.items() for part in parts if modality == "audio"]
        assert sum(part.numel() * part.element_size() for part in kept) <= limit
        assert bool(kept) == (limit > 0)


def test_another_name_is_another_condition_and_a_forgotten_one_is_computed_anew(transformer):
    given, cache = inputs(transformer, rows=1), ConditionCache()
    before = run(
        transformer,
        given,
        cached=cache.rows(
            [
                "negative",
            ],
            ["p"],
            ["x"],
        ),
    )
    given["encoder_hidden_states"] = given["encoder_hidden_states"] * 1.5
    assert torch.equal(run(transformer, given, cached=cache.rows(["negative"], ["p"], ["x"])), before)
    cache.forget(lambda name: name == "negative")
    boosted = run(transformer, given)
    torch.testing.assert_close(run(transformer, given, cached=cache.rows(["negative"], ["p"], ["x"])), boosted)
    assert not torch.allclose(before, boosted)


def test_a_row_without_a_name_is_refused(transformer):
    with pytest.raises(ValueError, match="names"):
        run(transformer, inputs(transformer), cached=ConditionCache().rows(["a"], ["p"] * 3, ["x"] * 3))


def test_attending_to_face_tokens_alone_changes_nothing_and_asks_fewer(transformer):
    given = inputs(transformer) | {"face_mask": torch.tensor([[0.0, 1, 1, 0, 1, 0]]).expand(3, -1)}
    asked: list[int] = []

    def watched(function, query, *args, **kwargs):
        if kwargs.get("backend") == AttentionBackendName.NATIVE:
            asked.append(query.shape[1])
        return function(query, *args, **kwargs)

    outputs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cdca, "dispatch_attention_fn", partial(watched, cdca.dispatch_attention_fn))
        for only in (True, False):
            patch.setattr(transformer, "face_tokens_only", only)
            outputs.append(run(transformer, given))
    torch.testing.assert_close(*outputs)
    layers = len(transformer.blocks)
    assert asked == [3] * layers + [6] * layers


def test_masks_that_differ_between_rows_are_attended_to_everywhere(transformer):
    given = inputs(transformer)
    same = torch.tensor([[0.0, 1, 1, 0, 1, 0]]).expand(3, -1)
    other = same.clone()
    other[0, 0] = 1e-30
    torch.testing.assert_close(run(transformer, given, face_mask=same), run(transformer, given, face_mask=other))


def test_no_audio_scale_is_no_audio_attention(transformer):
    given = inputs(transformer)
    silent = given | {"encoder_hidden_states_audio": torch.zeros_like(given["encoder_hidden_states_audio"])}
    assert torch.equal(run(transformer, given, audio_scale=0.0), run(transformer, silent, audio_scale=0.0))
    torch.testing.assert_close(
        run(transformer, given, audio_scale=0.0), run(transformer, given, face_mask=torch.zeros(3, 6))
    )
