"""What Hugging Face's own client sends for a push, taken by a small hub on this machine."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine.contract.errors import UserError
from studio.review.clips import ClipFolder
from studio.review.dataset_push import push_dataset
from studio.review.queue import upcoming
from studio.review.store import ReviewStore
from tests.studio.review.small_clips import key

TOKEN = "hf_" + "x" * 34


class Hub(ThreadingHTTPServer):
    """Takes repositories and commits of ordinary files from whoever has the token."""

    files: dict[str, bytes]
    private: bool


class Handler(BaseHTTPRequestHandler):
    """One request to the hub."""

    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid token"})
        elif self.path == "/api/repos/create":
            self.server.private = json.loads(body).get("private") or json.loads(body).get("visibility") == "private"
            self._answer(200, {"url": f"{self._address()}/datasets/owner/labels", "name": "owner/labels"})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            kept = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked]
            self._answer(200, {"files": kept})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            url = f"{self._address()}/datasets/owner/labels/commit/{'1' * 40}"
            self._answer(200, {"success": True, "commitOid": "1" * 40, "commitUrl": url})
        else:
            self._answer(200, {})

    def do_GET(self) -> None:
        self._answer(200, {"id": "owner/labels", "sha": "1" * 40, "siblings": [], "private": True})

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def _answer(self, code: int, said: dict) -> None:
        body = json.dumps(said).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(("127.0.0.1", 0), Handler)
    hub.files, hub.private = {}, False
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    yield hub
    hub.shutdown()
    hub.server_close()


@pytest.fixture
def labelled(reviews: ReviewStore, filled, tmp_path) -> ClipFolder:
    """One clip with its files, labelled."""
    batch = filled(1)
    (item,) = upcoming(reviews.database, "ada", batch)
    reviews.press("ada", batch, key(item.id, "mark", issue="blur"))
    reviews.press("ada", batch, key(item.id, "bad"))
    clips = ClipFolder(tmp_path / "clips", reviews)
    for name in ("clip.mp4", "latents.safetensors", "image.png", "audio.wav"):
        file = clips.file_of(item.clip_id, name)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(name.encode())
    return clips


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'review.sqlite'}"


def test_labels_clips_and_card_arrive_in_one_commit(reviews: ReviewStore, labelled: ClipFolder, hub: Hub):
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    address = push_dataset(reviews, labelled, "owner/labels", TOKEN, endpoint=endpoint)
    assert address.endswith("owner/labels") and hub.private
    (line,) = hub.files["labels.jsonl"].decode().splitlines()
    record = json.loads(line)
    assert hub.files[record["latents"]["path"]] == b"latents.safetensors"
    assert hub.files[record["inputs"]["audio"]["path"]] == b"audio.wav"
    assert b"1 answers of 1 annotators about 1 clips" in hub.files["README.md"]


def test_a_wrong_token_or_name_is_said(reviews: ReviewStore, labelled: ClipFolder, hub: Hub):
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    with pytest.raises(UserError, match="did not take the labels"):
        push_dataset(reviews, labelled, "owner/labels", "hf_wrong", endpoint=endpoint)
    with pytest.raises(UserError, match="owner/name"):
        push_dataset(reviews, labelled, "labels", TOKEN, endpoint=endpoint)
    assert not hub.files


def test_offline_is_one_line_without_the_token(reviews: ReviewStore, labelled: ClipFolder):
    with pytest.raises(UserError, match="did not take the labels") as said:
        push_dataset(reviews, labelled, "owner/labels", TOKEN, endpoint="http://127.0.0.1:9")
    assert "\n" not in said.value.message and TOKEN not in said.value.message
