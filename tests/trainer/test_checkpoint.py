"""What lies on disk is whole: after a kill, on a full disk, beside a log that was cut short."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.contract.errors import UserError
from tests.trainer.small_runs import room_for
from trainer.loop.checkpoint import claim, load_state, read_rows, save_folder, save_state, save_text, trim_log

BIG = torch.zeros(200_000)


@pytest.mark.parametrize(
    "write",
    [
        lambda run: save_state(run / "checkpoint.pt", {"step": 2, "model": BIG}),
        lambda run: save_folder(run / "model", lambda into: save_file({"big": BIG}, into / "weights")),
        lambda run: save_folder(run / "model", lambda into: (into / "weights").write_bytes(bytes(800_000))),
        lambda run: save_text(run / "made_of.json", " " * 800_000),
    ],
)
@pytest.mark.parametrize("most_bytes", [100, 5_000, 400_000])
def test_a_full_disk_leaves_what_was_saved_before_and_names_it(write, most_bytes, tmp_path):
    save_state(tmp_path / "checkpoint.pt", {"step": 1})
    save_folder(tmp_path / "model", lambda into: (into / "weights").write_text("one"))
    save_text(tmp_path / "made_of.json", "{}")
    with (
        room_for(most_bytes),
        pytest.raises(UserError, match=rf"disk is full.*last good model is {tmp_path / 'model'}"),
    ):
        write(tmp_path)
    assert load_state(tmp_path / "checkpoint.pt") == {"step": 1}
    assert (tmp_path / "model" / "weights").read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "made_of.json", "model"]


@pytest.mark.parametrize("kept_bytes", [0, 10, 600])
def test_a_state_that_is_damaged_is_said_and_the_model_that_is_left_is_named(kept_bytes, tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"step": 1})
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(UserError, match=r"checkpoint.pt is damaged.*No model was saved yet"):
        load_state(path)
    save_folder(tmp_path / "model", lambda into: None)
    with pytest.raises(UserError, match=rf"last good model is {tmp_path / 'model'}"):
        load_state(path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "model"
    save_folder(folder, lambda into: (into / "weights").write_text("one"))

    def killed(into: Path) -> None:
        (into / "weights").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_folder(folder, killed)
    assert (folder / "weights").read_text() == "one"
    save_folder(folder, lambda into: (into / "weights").write_text("two"))
    assert (folder / "weights").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_log_that_a_kill_cut_short_is_read_to_its_last_whole_line(tmp_path):
    log = tmp_path / "loss.jsonl"
    log.write_text('{"step": 0}\n{"step": 1}\n{"step": 2}\n{"ste')
    assert [row["step"] for row in read_rows(log)] == [0, 1, 2]
    trim_log(log, 2)
    assert log.read_text() == '{"step": 0}\n{"step": 1}\n'
    assert read_rows(tmp_path / "nothing") == []


def test_a_run_is_claimed_by_what_it_is_made_of(tmp_path):
    claim(tmp_path, {"recipe": 1, "seed": 2})
    claim(tmp_path, {"recipe": 1, "seed": 2})
    with pytest.raises(UserError, match="another seed"):
        claim(tmp_path, {"recipe": 1, "seed": 3})
    (tmp_path / "made_of.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        claim(tmp_path, {"recipe": 1, "seed": 2})
