"""Training from the page: a program of its own, watched by its files, one at a time, stopped and found again."""

import argparse
import json
import re
import sys
import time
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from engine.contract.unlearning import DEFAULT_PRESET
from studio.review.training import LABELS_NAME, Training, Trainings
from studio.tabs.train import training_card

PATIENCE_S = 60.0
SMALL_TRAINER = """
import json, sys, time
from pathlib import Path
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
run = Path(given["--run"])
(run / "model").mkdir(parents=True)
print("labels:", Path(given["--labels"]).read_text().count("\\n"))
with (run / "loss.jsonl").open("a") as log:
    for step in range(int(given["--steps"])):
        row = {"step": step, "sft": 1.0 / (step + 1), "ndpo": 0.5, "drift": 0.1 * step}
        print(json.dumps(row | {"held_out": 1.01, "held_out_at_start": 1.0}), file=log, flush=True)
        time.sleep(float(given.get("--issue", 0)))
stopped = "the mean D/s is 0.7" if int(given["--steps"]) > 5 else None
(run / "block.json").write_text(json.dumps({"step": 3, "stopped_by": stopped}))
sys.exit(2 if stopped else 0)
"""
"""Does what the page sees of the trainer; --issue is how long a step takes."""


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    program = tmp_path / "trainer.py"
    program.write_text(SMALL_TRAINER)
    return Trainings(tmp_path / "runs", (sys.executable, str(program)))


def start(trainings: Trainings, steps: int, pause_s: str | None = None) -> Training:
    folder = trainings.prepare()
    (folder / LABELS_NAME).write_text("{}\n{}\n")
    return trainings.start(folder, Path("model"), pause_s, labels=2, steps=steps, budget=0.3)


def ended(trainings: Trainings, name: str) -> Training:
    deadline = time.monotonic() + PATIENCE_S
    while (training := trainings.find(name)) is None or training.state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return training


def test_a_training_runs_to_its_end(trainings: Trainings):
    training = ended(trainings, start(trainings, 3).name)
    assert training.state == "done"
    assert [row["step"] for row in training.losses] == [0, 1, 2]
    assert "labels: 2" in training.log
    assert training.model_folder is not None and training.stopped_by is None
    card = training_card(training)
    assert "step 3 of 3" in card and card.count("<polyline") == 4 and card.count("em-guard") == 2


def test_a_guard_that_stops_it_is_said(trainings: Trainings):
    training = ended(trainings, start(trainings, 9).name)
    assert training.state == "failed"
    assert training.stopped_by == "the mean D/s is 0.7"
    assert "the mean D/s is 0.7" in training_card(training)


def test_one_runs_at_a_time_and_can_be_stopped(trainings: Trainings):
    training = start(trainings, 200, "0.1")
    with pytest.raises(UserError, match="still running"):
        start(trainings, 1)
    deadline = time.monotonic() + PATIENCE_S
    while not trainings.read(training.folder).losses:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    trainings.stop(training.name)
    assert ended(trainings, training.name).state == "stopped"
    assert ended(trainings, start(trainings, 1).name).state == "done"


def test_runs_are_known_after_a_restart_and_a_half_written_line_is_left_out(trainings: Trainings, tmp_path: Path):
    training = ended(trainings, start(trainings, 2).name)
    with (training.folder / "run" / "loss.jsonl").open("a") as log:
        log.write('{"step": 2, "sf')
    (again,) = Trainings(tmp_path / "runs").all()
    assert (again.state, len(again.losses), again.labels, again.budget) == ("done", 2, 2, 0.3)


def test_a_model_is_offered_from_when_it_is_used_and_no_sooner(trainings: Trainings, tmp_path: Path):
    training = ended(trainings, start(trainings, 1).name)
    assert trainings.used() == {}
    assert trainings.use(training.name) == training.model_folder
    assert Trainings(tmp_path / "runs").used() == {training.name: training.model_folder}
    with pytest.raises(UserError, match="no trained model"):
        trainings.use("nothing")


def test_a_chart_of_one_point_shows_it(trainings: Trainings):
    card = training_card(ended(trainings, start(trainings, 1).name))
    assert card.count("class='em-dot'") == 4
    for points in re.findall(r"points='([^']*)'", card):
        assert len(points.split()) == 2


def test_the_real_trainer_takes_what_the_page_gives_it(tmp_path: Path):
    from trainer.cli import ndpo_command

    program = tmp_path / "echo.py"
    program.write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    trainings = Trainings(tmp_path / "runs", (sys.executable, str(program)))
    given = json.loads(ended(trainings, start(trainings, 7, "jitter").name).log)
    parser = argparse.ArgumentParser()
    ndpo_command.add_arguments(parser)
    read = parser.parse_args(given)
    assert (read.issue, read.steps, read.budget, str(read.model)) == ("jitter", 7, 0.3, "model")
    assert (read.preset, read.corpus) == (DEFAULT_PRESET, None)
    assert read.labels.name == LABELS_NAME and read.folder.parent == read.labels.parent
