"""Downloads against a small hub on this machine that speaks the real one's protocol: whole, resumed, verified."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import numpy as np
import pytest

from engine.__main__ import main
from engine.contract.errors import UserError
from engine.contract.variants import FLASH, NANO, PREVIEW, TRANSFORMER_WEIGHTS
from engine.wan.downloads import CHECKSUMS, PART, TRANSFORMER_FILES, download, pieces, verify

LARGE_BYTES = 12_000_000
"""More than the client writes at a time."""


class Hub:
    """Files by repository and name; what was asked for, and where the connection shall stall."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.stall_at = 0
        self.damaged: str | None = None
        self.url = ""

    def fill(self, variant) -> None:
        random = np.random.default_rng(0)
        for piece in pieces(variant):
            size = LARGE_BYTES if piece.file.endswith(".safetensors") and "transformer" in piece.file else 3000
            self.files[piece.repo, piece.file] = random.bytes(size)


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            repo = self.path.removeprefix("/api/models/").removesuffix("/paths-info/main")
            names = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["paths"]
            listed = []
            for name in names:
                content = hub.files.get((repo, name))
                if content is None:
                    continue
                blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                entry = {"type": "file", "path": name, "size": len(content), "oid": blob}
                if name.endswith((".pth", ".safetensors", ".bin")):
                    digest = hashlib.sha256(content).hexdigest()
                    entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 100}
                listed.append(entry)
            self._answer(200, json.dumps(listed).encode())

        def do_GET(self) -> None:
            repo, _, name = self.path[1:].partition("/resolve/main/")
            if (repo, name) not in hub.files:
                print(self.path)
                self._answer(404, b"")
                return
            content = hub.files[repo, name]
            hub.asked.append((name, self.headers["Range"]))
            if name == hub.damaged:
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self._answer(206 if start else 200, content[start:], start, len(content))

        def _answer(self, status: int, body: bytes, start: int = 0, total: int = 0) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            if hub.stall_at and len(body) > hub.stall_at:
                self.wfile.write(body[: hub.stall_at])
                self.wfile.flush()
                time.sleep(60)
                return
            self.wfile.write(body)

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()


@pytest.mark.parametrize("variant", [PREVIEW, FLASH], ids=lambda variant: variant.name)
def test_a_model_arrives_whole_in_the_released_layout_and_is_not_fetched_twice(hub, variant, tmp_path):
    hub.fill(variant)
    download(variant, tmp_path, hub.url)
    for piece in pieces(variant):
        assert (tmp_path / piece.target).read_bytes() == hub.files[piece.repo, piece.file]
    assert verify(tmp_path) == []
    assert not list(tmp_path.rglob(f"*{PART}"))
    before = len(hub.asked)
    (tmp_path / TRANSFORMER_WEIGHTS).write_bytes(b"not it")
    download(variant, tmp_path, hub.url)
    assert [name for name, _ in hub.asked[before:]] == [TRANSFORMER_FILES[variant.name]]


def test_a_download_that_was_killed_goes_on_where_it_stopped(hub, tmp_path):
    hub.fill(PREVIEW)
    hub.stall_at = 11_000_000
    command = [sys.executable, "-m", "engine", "models", "download", "preview", "--to", str(tmp_path)]
    process = subprocess.Popen(command, env=os.environ | {"HF_ENDPOINT": hub.url}, stderr=subprocess.PIPE, text=True)
    part = tmp_path / f"{TRANSFORMER_WEIGHTS}{PART}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (part.is_file() and part.stat().st_size > 0):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    have = part.stat().st_size
    assert 0 < have < LARGE_BYTES
    assert f"{TRANSFORMER_WEIGHTS} is half downloaded" in verify(tmp_path)
    hub.stall_at = 0
    hub.asked.clear()
    download(PREVIEW, tmp_path, hub.url)
    assert hub.asked == [(TRANSFORMER_FILES["preview"], f"bytes={have}-")]
    assert verify(tmp_path) == []


def test_what_arrives_damaged_is_refused_and_fetched_anew(hub, tmp_path):
    hub.fill(PREVIEW)
    hub.damaged = TRANSFORMER_FILES["preview"]
    with pytest.raises(UserError, match="arrived damaged"):
        download(PREVIEW, tmp_path, hub.url)
    assert not (tmp_path / TRANSFORMER_WEIGHTS).exists()
    hub.damaged = None
    download(PREVIEW, tmp_path, hub.url)
    assert verify(tmp_path) == []


@pytest.mark.parametrize("name", ["wav2vec2-base-960h/config.json", str(TRANSFORMER_WEIGHTS)])
def test_a_changed_or_a_missing_file_is_found_without_a_network(hub, name, tmp_path, capsys):
    hub.fill(PREVIEW)
    download(PREVIEW, tmp_path, hub.url)
    assert main(["models", "verify", str(tmp_path)]) == 0
    content = bytearray((tmp_path / name).read_bytes())
    content[100] ^= 1
    (tmp_path / name).write_bytes(content)
    assert verify(tmp_path) == [f"{name} is not what is on the hub"]
    capsys.readouterr()
    assert main(["models", "verify", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert name in line and "models download preview" in line
    (tmp_path / name).unlink()
    assert verify(tmp_path) == [f"{name} is missing"]


def refusal(*arguments) -> str:
    with pytest.raises(UserError) as caught:
        download(*arguments)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_file_that_the_hub_lacks_is_named(hub, tmp_path):
    hub.fill(FLASH)
    del hub.files["BadToBest/EchoMimicV3", TRANSFORMER_FILES["flash"]]
    assert TRANSFORMER_FILES["flash"] in refusal(FLASH, tmp_path, hub.url)


def test_no_connection_no_room_and_no_folder_are_said(hub, tmp_path):
    assert "cannot be reached" in refusal(PREVIEW, tmp_path, "http://127.0.0.1:1")
    hub.fill(PREVIEW)
    (tmp_path / "file").write_bytes(b"")
    assert "--to" in refusal(PREVIEW, tmp_path / "file" / "models", hub.url)
    from engine.wan.downloads import _check_room

    with pytest.raises(UserError, match="make room") as caught:
        _check_room(tmp_path, 10**18)
    assert caught.value.field == "to"


def test_a_disk_that_fills_up_on_the_way_is_said_and_what_has_arrived_stays(hub, tmp_path):
    hub.fill(PREVIEW)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard))
    try:
        assert "full" in refusal(PREVIEW, tmp_path, hub.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert verify(tmp_path) == [f"{TRANSFORMER_WEIGHTS} is half downloaded"]
    download(PREVIEW, tmp_path, hub.url)
    assert verify(tmp_path) == []


def test_nano_is_not_downloaded_and_what_was_not_downloaded_here_is_not_verified(tmp_path):
    assert "bundled" in refusal(NANO, tmp_path)
    for content in (None, "{", "[]", '{"a": {"size": 1}}'):
        if content is not None:
            (tmp_path / CHECKSUMS).write_text(content)
        with pytest.raises(UserError, match=CHECKSUMS):
            verify(tmp_path)
