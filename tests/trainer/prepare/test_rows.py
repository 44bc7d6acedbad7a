from dataclasses import replace
from pathlib import Path

import pytest

from engine.contract.errors import UserError
from trainer.data.files import DiskFull
from trainer.prepare.rows import Rejected, Row, Stage, Workshop, key_of, work_on
from trainer.prepare.settings import PrepareSettings

ROW: Row = {"id": "a.mp4", "key": key_of("a.mp4"), "number": 3}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, tmp_path / "work", PrepareSettings())


class Counting:
    """Stages that add to `number`, and how often each ran."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def stage(self, name: str, add: int, version: int = 1, settings: tuple[str, ...] = ()) -> Stage:
        def run(row: Row, workshop: Workshop) -> Row:
            self.runs.append(name)
            return {"number": row["number"] + add}

        return Stage(name, version, run, settings)


def test_stages_run_in_turn_and_each_only_once(workshop: Workshop):
    counting = Counting()
    stages = [counting.stage("one", 1), counting.stage("two", 10)]
    first, again = work_on(ROW, stages, workshop), work_on(ROW, stages, workshop)
    assert first["number"] == 14 and first["status"] == "accepted"
    assert again == first and counting.runs == ["one", "two"]


def test_a_new_version_redoes_its_stage_and_those_behind_it(workshop: Workshop):
    counting = Counting()
    work_on(ROW, [counting.stage("one", 1), counting.stage("two", 10), counting.stage("three", 100)], workshop)
    newer = [counting.stage("one", 1), counting.stage("two", 20, version=2), counting.stage("three", 100)]
    assert work_on(ROW, newer, workshop)["number"] == 124
    assert counting.runs == ["one", "two", "three", "two", "three"]


def test_a_setting_redoes_the_stages_that_read_it_and_no_earlier_one(workshop: Workshop):
    counting = Counting()
    stages = [counting.stage("one", 1), counting.stage("two", 10, settings=("min_face",))]
    work_on(ROW, stages, workshop)
    work_on(ROW, stages, replace(workshop, settings=PrepareSettings(min_lip_r=0.5)))
    assert counting.runs == ["one", "two"]
    work_on(ROW, stages, replace(workshop, settings=PrepareSettings(min_face=0.5)))
    assert counting.runs == ["one", "two", "two"]


def test_another_row_under_the_same_name_is_done_anew(workshop: Workshop):
    counting = Counting()
    stages = [counting.stage("one", 1)]
    work_on(ROW, stages, workshop)
    assert work_on(ROW | {"number": 5}, stages, workshop)["number"] == 6


def test_a_rejected_row_keeps_its_reason_and_goes_no_further(workshop: Workshop):
    counting = Counting()

    def refuse(row: Row, workshop: Workshop) -> Row:
        counting.runs.append("refuse")
        raise Rejected("dark", "Luma 3.")

    stages = [Stage("light", 1, refuse), counting.stage("two", 10)]
    for _ in range(2):
        row = work_on(ROW, stages, workshop)
        assert (row["status"], row["stage"], row["reason"], row["detail"]) == ("rejected", "light", "dark", "Luma 3.")
    assert counting.runs == ["refuse"]


def test_what_the_engine_refuses_is_rejected_as_unreadable(workshop: Workshop):
    def refuse(row: Row, workshop: Workshop) -> Row:
        raise UserError("a.mp4 is damaged.", "source")

    row = work_on(ROW, [Stage("decode", 1, refuse)], workshop)
    assert (row["reason"], row["detail"]) == ("unreadable", "a.mp4 is damaged.")


def test_a_full_disk_is_no_fault_of_the_row(workshop: Workshop):
    def fill(row: Row, workshop: Workshop) -> Row:
        raise DiskFull("There is no room.", "out")

    with pytest.raises(DiskFull):
        work_on(ROW, [Stage("decode", 1, fill)], workshop)
    counting = Counting()
    assert work_on(ROW, [counting.stage("decode", 1)], workshop)["status"] == "accepted"


@pytest.mark.parametrize("stops_at", range(3))
def test_a_run_that_stops_anywhere_goes_on_there_to_the_same_answer(workshop: Workshop, stops_at: int, tmp_path: Path):
    counting = Counting()
    stages = [counting.stage(name, add) for name, add in (("one", 1), ("two", 10), ("three", 100))]
    undisturbed = work_on(ROW, stages, replace(workshop, folder=tmp_path / "other"))

    def die(row: Row, workshop: Workshop) -> Row:
        raise KeyboardInterrupt

    broken = [*stages[:stops_at], replace(stages[stops_at], run=die), *stages[stops_at + 1 :]]
    with pytest.raises(KeyboardInterrupt):
        work_on(ROW, broken, workshop)
    counting.runs.clear()
    assert work_on(ROW, stages, workshop) == undisturbed
    assert len(counting.runs) == 3 - stops_at


def test_an_answer_whose_file_is_gone_does_not_count(workshop: Workshop):
    runs = []

    def write(row: Row, workshop: Workshop) -> Row:
        runs.append(1)
        workshop.folder.mkdir(exist_ok=True)
        (workshop.folder / "voice").write_text("x")
        return {"voice_file": "voice"}

    stages = [Stage("decode", 1, write)]
    work_on(ROW, stages, workshop)
    (workshop.folder / "voice").unlink()
    work_on(ROW, stages, workshop)
    work_on(ROW, stages, workshop)
    assert len(runs) == 2
