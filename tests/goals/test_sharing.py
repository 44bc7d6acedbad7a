"""Two processes that share a training reach the losses of one, with DDP and with FSDP2, and go on after each other."""

import warnings

import pytest
import torch
from torch import distributed, nn

from goals.trainer import sharing, worker
from goals.trainer.kills import killed_as_whole
from trainer.loop.checkpoint import read_rows
from trainer.loop.processes import Processes

STEPS = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return worker.prepare(tmp_path_factory.mktemp("place"))


@pytest.mark.parametrize(("kind", "way"), [("sft", "ddp"), ("ndpo", "fsdp2")])
def test_two_processes_reach_the_losses_of_one(kind, way, place):
    worker.start(place, place / f"{kind}-one", kind, STEPS).join()
    shared = sharing.by_two(place, place / f"{kind}-two", kind, way, STEPS)
    assert shared == pytest.approx(sharing.losses(place / f"{kind}-one"), abs=sharing.TOLERANCE)


def test_what_two_processes_began_one_goes_on_with(place):
    """Goes on with the run of the test above."""
    run = place / "sft-two"
    worker.start(place, run, "sft", STEPS + 2).join()
    worker.start(place, place / "sft-whole", "sft", STEPS + 2).join()
    assert sharing.losses(run) == pytest.approx(sharing.losses(place / "sft-whole"), abs=sharing.TOLERANCE)


@pytest.mark.parametrize("kind", worker.KINDS)
def test_a_training_that_is_killed_twice_ends_as_one_that_was_not(kind, place):
    same, moments = killed_as_whole(place, kind, kills=2, seed=1)
    assert same and min(moments) > 0


def test_in_half_precision_a_block_begins_at_its_reference(place):
    run = place / "ndpo-half"
    worker.start(place, run, "ndpo", 2, {"ACCELERATE_USE_CPU": "true", "ACCELERATE_MIXED_PRECISION": "bf16"}).join()
    rows = read_rows(run / "loss.jsonl")
    assert rows[0]["distance"] == 0 and rows[1]["distance"] != 0


class OneFrame(nn.Linear):
    """Its forward gives a view, like that of a transformer whose patches are put together."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, :1]


def test_a_sharded_velocity_warns_of_nothing_and_may_be_changed_in_place(tmp_path):
    torch.manual_seed(0)
    velocity, x = OneFrame(3, 2), torch.ones(2, 3)
    wanted = velocity(x).detach() + 1
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        processes = Processes()
        processes.sharded = True
        shared = processes.share(velocity)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            predicted = shared(x)
        predicted += 1
        assert torch.equal(predicted, wanted)
        predicted.sum().backward()
        assert velocity.weight.grad.full_tensor()[0].tolist() == [2.0] * 3
    finally:
        distributed.destroy_process_group()
