"""The memory planner's arithmetic: what is counted is what is there, and every saving saves."""

from dataclasses import replace

import pytest
import torch

from engine.wan.transformer import EchoMimicTransformer3DModel
from trainer.loop.memory_plan import GPU_GB, Geometry, Plan, fits, needed, table, ways

FULL = Geometry()


@pytest.mark.parametrize("layers", [1, 2, 30])
def test_weights_are_counted_as_the_model_has_them(layers: int):
    with torch.device("meta"):
        model = EchoMimicTransformer3DModel(num_layers=layers)
    true = sum(weight.numel() for weight in model.parameters())
    assert Geometry(layers=layers).weights == pytest.approx(true, rel=0.02)


@pytest.mark.parametrize(
    "saving", [{"checkpointing": True}, {"processes": 2, "sharded": True}, {"lora_rank": 64}, {"latent_frames": 9}]
)
def test_every_saving_saves(saving):
    plain = Plan(checkpointing=False)
    assert needed(FULL, replace(plain, **saving)).total < needed(FULL, plain).total


def test_a_second_process_takes_half_of_what_is_split_and_none_of_the_rest():
    one, two = (needed(FULL, Plan(processes=count, sharded=True)) for count in (1, 2))
    assert two.weights == one.weights / 2 and two.kept == one.kept / 2
    assert two.activations == one.activations


def test_the_ways_on_one_gpu_need_less_and_less_and_the_last_fits_a_small_one():
    alone = [need.total for name, need in ways(FULL, Plan()) if "FSDP2" not in name]
    assert alone == sorted(alone, reverse=True)
    assert fits(ways(FULL, Plan(latent_height=64, latent_width=64))[-1][1], min(GPU_GB))
    assert not fits(ways(FULL, Plan())[0][1], min(GPU_GB))


def test_frozen_weights_are_counted_as_the_trainer_reads_them_in_single_precision():
    lora, reference = needed(FULL, Plan(lora_rank=1)), needed(FULL, Plan(reference="copy")).reference
    assert lora.weights == pytest.approx(4 * FULL.weights, rel=0.01) and reference == 4 * FULL.weights


def test_the_table_has_a_row_for_every_way():
    assert len(table(FULL, Plan()).splitlines()) == 2 + len(ways(FULL, Plan()))
