"""The public package: its names are there, it is light, and its command reaches every part."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import echomimic
from echomimic.cli import ENGINE, main
from engine.contract.records import request_without_places

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", echomimic.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str):
    found = getattr(echomimic, name)
    assert name == "VARIANTS" or found.__doc__


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(AttributeError, match="generate"):
        _ = echomimic.made_up


def test_one_call_makes_a_video(nano_folder, portrait, voice, tmp_path):
    video = echomimic.generate(
        image=portrait,
        audio=voice,
        model=str(nano_folder),
        seed=3,
        out=tmp_path / "talk.mp4",
        settings={"sampling.steps": 2, "guidance": {"audio": 1.5}},
    )
    assert echomimic.read_record(video.path).request == request_without_places(video.record.request)
    assert video.record.request.settings.guidance.audio == 1.5 and video.record.request.seed == 3
    with pytest.raises(echomimic.UserError, match=r"sampling\.stepps"):
        echomimic.generate(image=portrait, audio=voice, out=tmp_path / "o.mp4", settings={"sampling.stepps": 2})


def test_the_command_says_what_it_can_do(capsys):
    assert main([]) == 2 and main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("studio", "train", *ENGINE))
    assert main(["generat"]) == 2
    error = capsys.readouterr().err.strip()
    assert "'generat' is no command" in error and "\n" not in error


@pytest.mark.parametrize("command", [["models"], ["studio", "--help"], ["train", "sft", "--help"]])
def test_every_part_is_reached(command: list[str]):
    line = [sys.executable, "-m", "echomimic", *command]
    done = subprocess.run(line, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_versions_that_are_tested_together_are_those_that_the_package_allows():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {
        canonicalize_name(found.name): next(iter(found.specifier)).version
        for found in (Requirement(line) for line in lines if line and not line.startswith("#"))
        if any(part.operator == "==" for part in found.specifier)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    for found in map(Requirement, asked):
        name = canonicalize_name(found.name)
        assert name in pinned or name == "protobuf", f"{name} has no pin in requirements.txt"
        assert name == "protobuf" or found.specifier.contains(pinned[name]), f"{name} {pinned[name]} is out of range"
