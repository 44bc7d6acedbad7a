"""What lies on disk is whole: after a kill, on a full disk, beside a log that was cut short."""

import errno
from pathlib import Path

import pytest
import torch

from engine.errors import UserError
from trainer.checkpoint import claim, load_state, read_rows, save_folder, save_state, trim_log


def test_a_full_disk_leaves_the_state_before_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"step": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="disk is full"):
        save_state(path, {"step": 2})
    assert load_state(path) == {"step": 1}


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
