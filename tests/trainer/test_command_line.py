"""The trainer's command line says what was wrong in one line, exits with 2, and does so before the work."""

import shutil
import sys
from pathlib import Path

import pytest

from trainer.__main__ import COMMANDS, Command, main

LONG = "a" * 300


@pytest.fixture
def places(tmp_path: Path, toy_corpus_folder: Path) -> dict[str, str]:
    """What the flags below stand for."""
    damaged = tmp_path / "damaged"
    shutil.copytree(toy_corpus_folder, damaged)
    (damaged / "train" / "index.json").write_text("{")
    file = tmp_path / "file.txt"
    file.write_text("neither sound nor weights")
    return {
        "CORPUS": str(toy_corpus_folder),
        "DAMAGED": str(damaged),
        "FILE": str(file),
        "OUT": str(tmp_path / "out"),
        "NOWHERE": str(tmp_path / "nowhere"),
    }


BAD_INPUT = [
    ("", "COMMAND"),
    ("sing", "sing"),
    ("evaluate", "VIDEO"),
    ("evaluate NOWHERE", "does not exist"),
    (f"evaluate {LONG}", "does not exist"),
    ("evaluate FILE", "cannot be read"),
    ("evaluate FILE --json NOWHERE/x.json", "does not exist"),
    ("evaluate FILE --json FILE/x.json", "does not exist"),
    ("evaluate FILE --json CORPUS", "is a folder"),
    ("synthesize OUT --hours 0", "0.01 to 1000"),
    ("synthesize OUT --hours nan", "0.01 to 1000"),
    ("synthesize OUT --workers 0", "1 or more"),
    ("synthesize OUT --seed -1", "0 or more"),
    ("audio-encoder --corpus NOWHERE --out OUT", "synthesize"),
    ("audio-encoder --corpus DAMAGED --out OUT", "synthesize"),
    ("audio-encoder --corpus CORPUS --out OUT", "heldout_voice"),
    ("audio-encoder --corpus CORPUS --out OUT --steps 0", "1 or more"),
    ("audio-encoder --corpus CORPUS --out OUT --batch 2.5", "whole number"),
    ("audio-encoder --corpus CORPUS --out OUT --seed -1", "0 or more"),
    ("sft --recipe giant", "giant"),
    ("sft --seed -1", "0 or more"),
    ("sft --audio-encoder NOWHERE", "audio-encoder"),
    ("sft --recipe nano-soup --audio-encoder FILE --run OUT", "--start"),
    ("sft --start NOWHERE --audio-encoder FILE", "Unknown model"),
    ("sft --start flash --audio-encoder FILE", "takes nano"),
    ("sft --seed 2147483648", "below 2147483648"),
    ("sft --corpus NOWHERE --audio-encoder FILE --run OUT", "synthesize"),
    ("sft --corpus DAMAGED --audio-encoder FILE --run OUT", "synthesize"),
    ("sft --corpus CORPUS --audio-encoder FILE --run OUT", "not an audio encoder"),
    ("sft --recipe released-soup --run OUT", "--start"),
    ("sft --recipe released-soup --run OUT --start CORPUS --data CORPUS", "Unknown model"),
    ("ndpo --run OUT", "--labels"),
    ("ndpo --labels NOWHERE --run OUT", "cannot be read"),
    ("ndpo --labels FILE --run OUT", "no label"),
    ("ndpo --labels FILE --run OUT --budget 3", "0.05 and 1"),
    ("ndpo --labels FILE --run OUT --loss ppo", "ppo"),
    ("cycle --run OUT --budget 0", "0.05 and 1"),
    ("cycle --run OUT --cycles 0", "1 or more"),
    ("cycle --run OUT --model huge", "huge"),
    ("cycle --run OUT --model flash", "--data"),
    ("judge FILE --issue jitter --over 1 --model preview", "takes nano"),
    ("personalise FILE --model flash", "takes nano"),
    ("personalise NOWHERE", "no video"),
    ("personalise FILE --model huge", "huge"),
    ("plan --frames 6", "4n + 1"),
]


@pytest.mark.parametrize(("line", "words"), BAD_INPUT)
def test_bad_input_is_one_clear_line_and_exit_2(
    line: str, words: str, places: dict[str, str], capsys: pytest.CaptureFixture
):
    arguments = line.split()
    for name, path in places.items():
        arguments = [argument.replace(name, path) for argument in arguments]
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0], lines
    assert not Path(places["OUT"]).exists()


def add_arguments(parser) -> None:
    """Of a command that only writes."""
    parser.add_argument("out", type=Path)


def run(args) -> int:
    args.out.write_text("x" * 100_000)
    return 0


def test_a_disk_that_is_full_is_one_clear_line_wherever_it_is_met(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "writing_command", sys.modules[__name__])
    monkeypatch.setitem(COMMANDS, "write", Command("writing_command", "write"))
    assert main(["write", "/dev/full"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "There is no room" in lines[0] and "No space left" in lines[0]
    with pytest.raises(FileNotFoundError):
        main(["write", str(tmp_path / "nowhere" / "out")])


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    assert COMMANDS[command].summary in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("word", ["proof", "prove", "proof-data", "experiment"])
def test_what_left_the_command_line_says_where_it_is(word, capsys):
    assert main([word, "--anything"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "python -m goals" in line or "python -m research" in line
