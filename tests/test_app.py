"""The launcher: what is wrong is said in one line, the page is up before anything heavy is, and a real job runs."""

import asyncio
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

import app
from engine.contract.variants import TASKS
from engine.media.video import probe
from tests.serving import ROOT, START_S, free_port, serving


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "abc"], "1 to 65535"),
        (["--port", "0"], "1 to 65535"),
        (["--port", "70000"], "1 to 65535"),
        (["--auth", "nobody"], "USER:PASSWORD"),
        (["--auth", ":secret"], "USER:PASSWORD"),
        (["--colour", "red"], "--colour"),
        (["--model", "huge"], "Unknown model 'huge'"),
        (["--host", "203.0.113.7"], "203.0.113.7"),
    ],
)
def test_a_wrong_flag_is_one_line_and_two(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert exit_code(flags) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said


def test_a_port_in_use_is_one_line_and_two(taken_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert exit_code(["--port", str(taken_port), "--data", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(taken_port) in said and "--port" in said


def test_a_data_folder_that_cannot_be_made_is_one_line_and_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    assert exit_code(["--port", str(free_port()), "--data", str(tmp_path / "file" / "data")]) == 2
    assert "--data" in capsys.readouterr().err


def test_the_page_is_composed_without_anything_heavy():
    code = (
        "import sys, app; from studio.ui import build_page; app.LocalEngine('nano').ports(); "
        "print([name for name in ('torch', 'mediapipe', 'cv2', 'diffusers', 'librosa') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def address(data_folder: Path, nano_folder: Path) -> Iterator[str]:
    """The real studio with a nano model of random weights."""
    port = free_port()
    command = ("app.py", "--port", str(port), "--model", str(nano_folder), "--data", str(data_folder))
    with serving(*command, port=port, log=data_folder / "log.txt"):
        yield f"http://127.0.0.1:{port}/"


def test_the_endpoint_makes_a_video_with_the_settings_it_was_given(address: str, portrait: Path, voice: Path):
    client = Client(address, verbose=False)
    video, record = client.predict(
        image=handle_file(portrait),
        audio=handle_file(voice),
        seed=5,
        sampling_steps=2,
        guidance_audio=1.5,
        api_name="/generate_talking_head",
    )
    info = probe(video if isinstance(video, str) else video["video"])
    assert (info.width_px, info.height_px, info.num_frames) == (512, 600, 32)
    assert info.audio_sample_rate_hz is not None
    settings = record["request"]["settings"]
    assert (record["request"]["seed"], settings["sampling"]["steps"], settings["guidance"]["audio"]) == (5, 2, 1.5)


def test_the_example_program_makes_a_video(address: str, portrait: Path, voice: Path, tmp_path: Path):
    out = tmp_path / "talk.mp4"
    command = [sys.executable, "examples/api.py", str(portrait), str(voice), str(out), address]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "512 x 600 px" in done.stdout
    assert probe(out).num_frames == 32


def test_curl_alone_makes_a_video(address: str, portrait: Path, voice: Path, tmp_path: Path):
    out = tmp_path / "talk.mp4"
    command = ["sh", "examples/api.sh", str(portrait), str(voice), str(out), address.rstrip("/")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert probe(out).num_frames == 32


@pytest.mark.parametrize(
    ("task", "media"),
    [("half_body", ("image",)), ("lip_sync", ("image",)), ("first_last_frame", ("image", "last_image"))],
)
def test_every_task_that_nano_does_has_its_endpoint(
    address: str, portrait: Path, voice: Path, task: str, media: tuple[str, ...]
):
    pictures = {name: handle_file(portrait) for name in media}
    _, record = Client(address, verbose=False).predict(
        **pictures, audio=handle_file(voice), sampling_steps=2, api_name=f"/generate_{task}"
    )
    assert record["request"]["task"] == task.replace("_", "-")
    assert record["num_frames"] in (32, 33)


def test_a_task_beyond_the_model_says_which_model_can(address: str, voice: Path):
    client = Client(address, verbose=False)
    with pytest.raises(AppError, match="preview or flash"):
        client.predict(prompt="a woman", audio=handle_file(voice), api_name="/generate_text_to_video")


def test_the_tasks_are_mcp_tools_with_typed_parameters(address: str):
    async def tools() -> dict[str, dict]:
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (receive, send, _),
            ClientSession(receive, send) as session,
        ):
            await session.initialize()
            return {tool.name: tool.inputSchema["properties"] for tool in (await session.list_tools()).tools}

    found = asyncio.run(tools())
    assert {f"generate_{task.replace('-', '_')}" for task in TASKS} <= set(found)
    assert found["generate_talking_head"]["sampling_steps"]["type"] == "integer"
    assert "request" not in found["generate_talking_head"]


def test_the_endpoint_says_what_is_wrong_in_our_words(address: str, portrait: Path, voice: Path, tmp_path: Path):
    client = Client(address, verbose=False)
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    with pytest.raises(AppError, match=r"text\.png is not a picture"):
        client.predict(image=handle_file(text), audio=handle_file(voice), api_name="/generate_talking_head")
    with pytest.raises(AppError, match="is a picture"):
        client.predict(image=handle_file(portrait), audio=handle_file(portrait), api_name="/generate_talking_head")


def test_the_job_store_cannot_be_fetched_by_its_path(address: str, data_folder: Path):
    assert (data_folder / "jobs.sqlite").exists()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}gradio_api/file={data_folder / 'jobs.sqlite'}", timeout=10)
    assert refused.value.code == 404


@pytest.mark.usefixtures("address")
def test_the_data_folder_serves_one_studio_at_a_time(data_folder: Path):
    command = [sys.executable, "app.py", "--port", str(free_port()), "--data", str(data_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=START_S)
    assert done.returncode == 2
    assert re.fullmatch(r"app\.py: Another studio uses the data folder .*\n", done.stderr)


def exit_code(flags: list[str]) -> int:
    try:
        return app.main(flags)
    except SystemExit as leaving:
        return int(leaving.code or 0)
