"""The cycle stops for labels of the model it has come to, and goes on with them."""

from dataclasses import replace

import pytest

from engine.contract.errors import UserError
from engine.nano.model import NanoModel
from goals.trainer import tiny, worker
from trainer.objectives import cycle
from trainer.objectives.cycle import LABELS, Cycles, Waiting, run_cycles
from trainer.subjects import nano_subject
from trainer.subjects.nano_subject import NanoSubject


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return worker.prepare(tmp_path_factory.mktemp("place"))


def begun_with(place):
    return lambda folder: NanoSubject.begun_with(folder, place / "corpus")


def test_a_cycle_waits_for_labels_and_goes_on_from_them(place, tmp_path, monkeypatch):
    block = replace(tiny.BLOCK, steps=2, check_every=2)
    cycles = Cycles(
        place / "start", tmp_path, begun_with(place), block, tiny.RECIPE, issues=("jitter", "lips-off"), sft_steps=2
    )
    waiting = run_cycles(cycles)
    assert waiting == Waiting(1, place / "start", "jitter", tmp_path / "1" / LABELS)

    # What labels become is tested where they are read; here the negatives are made without a picture.
    monkeypatch.setattr(cycle, "read_labels", lambda path, issue: [path.read_text(), issue])
    monkeypatch.setattr(nano_subject, "nano_negatives", lambda read, model, *_, **__: (tiny.negatives(model, 1), []))
    waiting.labels.write_text("labelled")
    second = run_cycles(cycles)
    assert isinstance(second, Waiting)
    assert (second.number, second.issue) == (2, "lips-off")
    assert second.model == tmp_path / "1" / "sft" / "model"
    assert NanoModel.load(second.model).description["steps_done"] == 2

    second.labels.write_text("labelled")
    blocks = run_cycles(cycles)
    assert [found.stopped_by for found in blocks] == [None, None]
    assert NanoModel.load(tmp_path / "2" / "sft" / "model").description["recipe"]["name"] == "cycle-2"


def test_labels_that_cannot_be_read_stop_the_cycle(place, tmp_path):
    cycles = Cycles(place / "start", tmp_path, begun_with(place), tiny.BLOCK, tiny.RECIPE)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / LABELS).write_text("")
    with pytest.raises(UserError, match="no clip that is bad"):
        run_cycles(cycles)
