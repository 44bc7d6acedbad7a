"""Two processes that share a training reach the losses of one, with DDP and with FSDP2, and go on after each other."""

import pytest
import torch

from trainer import sft
from trainer.prove import sharing, worker

STEPS = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return worker.prepare(tmp_path_factory.mktemp("place"))


@pytest.mark.parametrize(("kind", "way"), [("sft", "ddp"), ("ndpo", "fsdp2")])
def test_two_processes_reach_the_losses_of_one(kind, way, place):
    torch.set_num_threads(1)
    worker.train(place, place / f"{kind}-one", kind, STEPS)
    shared = sharing.by_two(place, place / f"{kind}-two", kind, way, STEPS)
    assert shared == pytest.approx(sharing.losses(place / f"{kind}-one"), abs=sharing.TOLERANCE)


def test_what_two_processes_began_one_goes_on_with(place, monkeypatch):
    """Uses the run of the test above, begun by two."""
    monkeypatch.setattr(sft, "CHECKPOINT_EVERY", 3)
    run = place / "sft-two"
    worker.train(place, run, "sft", STEPS + 2)
    worker.train(place, place / "sft-whole", "sft", STEPS + 2)
    assert sharing.losses(run) == pytest.approx(sharing.losses(place / "sft-whole"), abs=sharing.TOLERANCE)
