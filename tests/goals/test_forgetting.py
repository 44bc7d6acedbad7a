"""The proof that a defect is unlearned, with the smallest models: both ways are trained, rates are what they say."""

import json
from dataclasses import replace

import pytest

from engine.nano.model import NanoModel
from goals.trainer import forgetting, tiny, worker
from goals.trainer.forgetting import Rates, Trial, forget, summary
from tests.trainer.small_runs import hum_short_clips


def test_the_cycles_and_their_control_take_as_many_steps_from_one_model(tmp_path, monkeypatch):
    hum_short_clips(monkeypatch)
    for name, value in {"PAIRS": 6, "CANDIDATES": 4, "SFT_STEPS": 3, "opening_limit": lambda model: 0.0}.items():
        monkeypatch.setattr(forgetting, name, value)
    place = worker.prepare(tmp_path / "place")
    block = replace(tiny.BLOCK, steps=4, check_every=2)
    run = tmp_path / "run"
    found = forget(Trial(place / "start", run, place / "corpus", tmp_path / "features.npy", tiny.RECIPE, block))

    assert found["pairs"] == 6 and set(found["rate"]) == {"start", "cycles", "control"}
    assert [block["steps"] for block in found["blocks"]] == [4] * forgetting.CYCLES
    control = NanoModel.load(run / "control" / "model").description
    assert control["steps_done"] == forgetting.CYCLES * (4 + 3)
    assert json.loads((run / "forgetting.json").read_text())["clips"].keys() == found["rate"].keys()


def test_a_ratio_is_of_the_rates_and_lies_in_its_interval():
    half, quarter = [True, False] * 20, [True, False, False, False] * 10
    lips = [0.8] * 40
    found = summary({"start": Rates(half, lips), "cycles": Rates(quarter, lips), "control": Rates(half, lips)})
    low, high = found["cycles"]["ratio_95"]
    assert found["cycles"]["ratio"] == pytest.approx(0.5) and low < 0.5 < high
    assert found["control"] == {"ratio": 1.0, "ratio_95": [1.0, 1.0]}
    assert found["rate"] == {"start": 0.5, "cycles": 0.25, "control": 0.5}
