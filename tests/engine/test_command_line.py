"""The command line says what was wrong in one line, exits with 2 and leaves no file; and every setting is a flag."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import soundfile
from annotated_types import Le
from PIL import Image
from pydantic.fields import FieldInfo

from engine.__main__ import _drawn_seed, _forget_seed, main, make_parser, parse_request, settings_fields
from engine.contract.request import flatten
from engine.contract.variants import NANO, PREVIEW, VARIANTS
from engine.sampling.resume import STATE_FILE
from tests.conftest import RATE_HZ, voice_like

ROOT = Path(__file__).parents[2]
BARE = ["generate", "--image", "face.png", "--audio", "voice.wav", "--out", "out.mp4"]


def parsed(*flags: str) -> dict:
    request = parse_request(make_parser().parse_args([*BARE, *flags]))
    return flatten(request.settings.model_dump())


def ceiling(info: FieldInfo) -> float | None:
    return next((bound.le for bound in info.metadata if isinstance(bound, Le)), None)


def another_value(info: FieldInfo, default: object) -> object:
    if get_origin(info.annotation) is Literal:
        return next(choice for choice in get_args(info.annotation) if choice != default)
    match default:
        case bool():
            return not default
        case int() | float():
            return default + 1 if (ceiling(info) or 2) > 1 else default / 2
        case str():
            return default + "blurred"


@pytest.mark.parametrize("name", settings_fields())
def test_every_setting_is_a_flag_that_reaches_the_request(name: str):
    defaults = flatten(PREVIEW.default_settings.model_dump())
    assert set(defaults) == set(settings_fields())
    value = another_value(settings_fields()[name], defaults[name])
    # A lower breakpoint must stay below the upper one.
    companion = {name.replace(".low", ".high"): 1000.0} if name.endswith(".low") else {}
    flags = [part for key, given in {name: value, **companion}.items() for part in (f"--{key}", str(given))]
    assert parsed("--model", "preview", *flags) == defaults | {name: value} | companion


def test_flags_beat_the_settings_file_which_beats_the_defaults(tmp_path: Path):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"guidance": {"audio": 3.5, "text": 2.0}}))
    got = parsed("--settings", str(file), "--guidance.audio", "4")
    assert (got["guidance.audio"], got["guidance.text"]) == (4.0, 2.0)
    assert got["sampling.steps"] == NANO.default_settings.sampling.steps


def test_steps_have_a_short_flag_and_switches_need_no_value():
    got = parsed("--steps", "5", "--guidance.dynamic", "--phda.enabled", "false")
    assert (got["sampling.steps"], got["guidance.dynamic"], got["phda.enabled"]) == (5, True, False)


def write_bytes(name: str, content: bytes):
    def make(folder: Path) -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    return make


def write_picture(name: str, size: tuple[int, int], keep_bytes: float = 1.0):
    def make(folder: Path) -> str:
        pixels = np.random.default_rng(0).integers(0, 255, (min(size[1], 300), min(size[0], 300), 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size).save(folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep_bytes)])
        return str(folder / name)

    return make


def write_sound(name: str, wave: np.ndarray, keep_bytes: float = 1.0, subtype: str = "PCM_16"):
    def make(folder: Path) -> str:
        soundfile.write(folder / name, wave, RATE_HZ, subtype=subtype)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep_bytes)])
        return str(folder / name)

    return make


def given(text: str):
    return lambda folder: text


BAD_INPUT = {
    "no face": ("--image", write_picture("noise.png", (200, 200)), "face"),
    "a 1x1 picture": ("--image", write_picture("dot.png", (1, 1)), "1 × 1"),
    "a 20,000 px picture": ("--image", write_picture("long.png", (20_000, 70)), "20000"),
    "a text file renamed": ("--image", write_bytes("text.png", b"I am not a picture"), "not a picture"),
    "a truncated picture": ("--image", write_picture("cut.jpg", (300, 300), keep_bytes=0.4), "truncated"),
    "a sound given as picture": ("--image", write_sound("sound.wav", voice_like(1.0)), "not a picture"),
    "a picture path that does not exist": ("--image", given("nowhere.png"), "does not exist"),
    "an empty sound": ("--audio", write_sound("none.wav", np.zeros(0, np.float32)), "sound"),
    "an empty sound file": ("--audio", write_bytes("none.wav", b""), "empty"),
    "0.1 s of sound": ("--audio", write_sound("short.wav", voice_like(0.1)), "0.10 s"),
    "NaN": ("--audio", write_sound("nan.wav", np.full(RATE_HZ, np.nan), subtype="FLOAT"), "NaN"),
    "a truncated sound": ("--audio", write_sound("cut.wav", voice_like(2.0), keep_bytes=0.5), "truncated"),
    "eleven minutes of sound": ("--audio", write_sound("long.wav", np.zeros(660 * RATE_HZ, np.int16)), "600 s"),
    "a picture given as sound": ("--audio", write_picture("face.png", (80, 80)), "picture"),
    "a sound path that does not exist": ("--audio", given("nowhere.wav"), "does not exist"),
    "an output folder that does not exist": ("--out", lambda folder: str(folder / "nowhere" / "out.mp4"), "folder"),
    "an output folder that is a file": ("--out", lambda folder: f"{__file__}/out.mp4", "folder"),
    "an output that is no mp4": ("--out", given("out.gif"), ".mp4"),
    "an output whose name is too long": (
        "--out",
        lambda folder: str(folder / "output" / f"{'a' * 300}.mp4"),
        "too long",
    ),
    "a picture whose name is too long": ("--image", given("a" * 300), "does not exist"),
    "a sound whose name is too long": ("--audio", given("a" * 300), "does not exist"),
    "0 steps": ("--steps", given("0"), "1"),
    "an unknown model": ("--model", given("huge"), "huge"),
    "an unknown task": ("--task", given("sing"), "talking-head"),
    "an unknown flag": ("--guidance.loudness", given("1"), "--guidance.loudness"),
    "a settings file that does not exist": ("--settings", given("nowhere.json"), "nowhere.json"),
    "a settings file that is no JSON": ("--settings", write_bytes("bad.json", b"{"), "JSON"),
    "a settings file with a list": ("--settings", write_bytes("list.json", b"[1]"), "object"),
    "a settings file with an unknown setting": (
        "--settings",
        write_bytes("s.json", b'{"guidance": {"a": 1}}'),
        "guidance.a",
    ),
    "a settings file with NaN": ("--settings", write_bytes("s.json", b'{"guidance": {"audio": NaN}}'), "finite"),
    "a settings file with a word for a group": ("--settings", write_bytes("s.json", b'{"guidance": "much"}'), "group"),
    "a settings file with a word for a number": (
        "--settings",
        write_bytes("s.json", b'{"guidance": {"audio": "much"}}'),
        "number",
    ),
    "a negative seed": ("--seed", given("-1"), "greater"),
    "a seed that is no number": ("--seed", given("lucky"), "seed"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_line_exit_2_and_no_file(
    case: str, tmp_path: Path, portrait: Path, voice: Path, capsys: pytest.CaptureFixture
):
    flag, make, words = BAD_INPUT[case]
    output = tmp_path / "output"
    output.mkdir()
    good = {"--image": str(portrait), "--audio": str(voice), "--out": str(output / "out.mp4")}
    arguments = good | {flag: make(tmp_path)}
    assert main(["generate", *(part for pair in arguments.items() for part in pair)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ") and words in lines[0]
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required"),
        (["sing"], "sing"),
        (["generate"], "--audio"),
        (["inspect", "nowhere.mp4"], "nowhere.mp4"),
        (["models", "sell"], "download"),
        (["models", "download"], "model"),
        (["models", "download", "huge"], "Unknown model"),
        (["models", "download", "nano"], "bundled"),
        (["models", "verify", "nano"], "checksums.json"),
    ],
)
def test_bad_commands_are_one_line_too(arguments: list[str], words: str, capsys: pytest.CaptureFixture):
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0]


def test_models_are_listed(capsys: pytest.CaptureFixture):
    for arguments in (["models"], ["models", "list"]):
        assert main(arguments) == 0
        listed = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in listed] == list(VARIANTS)
        assert listed[0].endswith("installed")


def test_a_file_is_refused_before_torch_is_even_imported(tmp_path: Path, voice: Path):
    code = (
        "import sys; from engine.__main__ import main;"
        f"main(['generate', '--image', 'no.png', '--audio', {str(voice)!r}, '--out', {str(tmp_path / 'o.mp4')!r}]);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_doctors_verdict_agrees_with_its_findings(capsys: pytest.CaptureFixture):
    code = main(["doctor"])
    *findings, verdict = capsys.readouterr().out.strip().splitlines()
    assert {line.split()[0] for line in findings} <= {"ok", "MISSING"}
    missing = sum(line.startswith("MISSING") for line in findings)
    assert code == (1 if missing else 0)
    assert (str(missing) if missing else "Everything") in verdict
    assert any(line.startswith("ok") and "torch" in line for line in findings)


@pytest.mark.parametrize("style", ["--lip-sync.audio-shorter", "--lip_sync.audio_shorter", "--lip-sync.audio_shorter"])
def test_a_flag_may_be_written_with_either_dash(style: str):
    assert parsed(style, "cut")["lip_sync.audio_shorter"] == "cut"
    assert parsed(f"{style}=cut")["lip_sync.audio_shorter"] == "cut"


def test_help_shows_one_style_of_flags(capsys):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["generate", "--help"])
    flags = re.findall(r"(?<=\s)--[\w.-]+", capsys.readouterr().out)
    assert len(flags) > 40 and not [flag for flag in flags if "_" in flag]


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("--imgae", "--image"), ("--guidance.adio", "--guidance.audio"), ("--sampling-steps", "--sampling.steps")],
)
def test_a_slip_is_answered_with_the_flag_that_was_meant(slip: str, meant: str, capsys):
    assert main(["generate", "--audio", "a.wav", "--out", "o.mp4", slip, "3"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"did you mean {meant}?" in line


def test_odd_settings_files_and_places_are_one_line(portrait, voice, tmp_path, capsys):
    deep, fifo = tmp_path / "deep.json", tmp_path / "fifo"
    deep.write_text("[" * 100_000 + "]" * 100_000)
    os.mkfifo(fifo)
    large = tmp_path / "large.json"
    large.write_bytes(b" " * 2_000_000)
    good = ["generate", "--image", str(portrait), "--audio", str(voice), "--out", str(tmp_path / "o.mp4")]
    for name, words in [(deep, "nested"), (fifo, "device"), (Path("/dev/zero"), "device"), (large, "bytes")]:
        assert main([*good, "--settings", str(name)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words in line
    assert main([*good, "--keep-latents", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["python", "api.py"], ["sh", "api.sh"]])
def test_the_examples_say_where_no_studio_answers(command, portrait, voice, tmp_path):
    program = sys.executable if command[0] == "python" else command[0]
    line = [program, str(ROOT / "examples" / command[1]), str(portrait), str(voice), str(tmp_path / "o.mp4")]
    if command[0] == "sh" and shutil.which("curl") is None:
        pytest.skip("the program curl is not installed")
    done = subprocess.run([*line, "http://127.0.0.1:9"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "No studio answers at http://127.0.0.1:9: start one with `make studio`, or give its address."
    ]


def test_a_command_that_was_killed_goes_on_with_the_seed_it_drew(tmp_path: Path):
    folder = tmp_path / "unfinished"
    assert _drawn_seed(folder, 5) == 5
    assert _drawn_seed(folder, 6) == 5
    (folder / STATE_FILE).touch()
    _forget_seed(folder)
    assert _drawn_seed(folder, 7) == 5
    (folder / STATE_FILE).unlink()
    _forget_seed(folder)
    assert not folder.exists()
    assert _drawn_seed(folder, 8) == 8
    assert _drawn_seed(None, 1) == _drawn_seed(None, 2), "processes that share a clip share a seed"
