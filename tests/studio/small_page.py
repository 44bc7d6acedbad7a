"""The real page on the small engine, served by a thread of the tests' own process, and visitors of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import httpx

from studio.examples import find_examples
from studio.jobs import JobStore
from studio.review.desk import ReviewDesk
from studio.service import Limits, Studio
from studio.stubs import no_stub_files
from studio.worker import Worker
from tests.serving import ROOT
from tests.studio.small_engine import SmallEngine
from tests.studio.small_speaker import COMMAND

with no_stub_files():
    from studio.ui import build_page, launch_options


@dataclass
class Visitor:
    """A browser, or a program, that talks to the page. `account` logs in first."""

    address: str
    account: tuple[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        headers = {"accept-encoding": "identity"} | self.headers
        self.client = httpx.Client(base_url=self.address, timeout=60.0, headers=headers, follow_redirects=True)
        if self.account is not None:
            self.client.post("login", data=dict(zip(("username", "password"), self.account, strict=True)))
        self.client.get("")

    @property
    def cookie(self) -> str:
        return self.client.cookies.get("echomimic-visitor", "")

    def cause(self, number: int, data: list[Any], **event: Any) -> httpx.Response:
        """Send the event of dependency `number` with raw data, whether the page shows what causes it or not."""
        body = {"fn_index": number, "data": data, "session_hash": "tests"} | event
        return self.client.post("gradio_api/run/predict", json=body)

    def upload(self, path: Path) -> str:
        with path.open("rb") as file:
            (there,) = self.client.post("gradio_api/upload", files={"files": file}).json()
        return there


@dataclass
class Page:
    """What is served: its address, the blocks with their dependencies, and the studio behind it."""

    address: str
    blocks: gr.Blocks
    studio: Studio
    review: ReviewDesk


@contextmanager
def served(folder: Path, *, auth: list[tuple[str, str]] | None = None, limits: Limits | None = None) -> Iterator[Page]:
    """The page until the block ends."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    ports = SmallEngine().ports()
    store = JobStore(folder)
    studio = Studio(ports, store, Worker(store, ports), "nano", limits or Limits(), speaker_trainer=COMMAND)
    review = ReviewDesk(studio)
    blocks = build_page(studio, find_examples(ROOT / "assets" / "examples"), review)
    options = launch_options(studio, review)
    try:
        blocks.launch(
            server_name="127.0.0.1", auth=auth, prevent_thread_lock=True, quiet=True, _frontend=False, **options
        )
        yield Page(str(blocks.local_url), blocks, studio, review)
    finally:
        blocks.close(verbose=False)
        review.store.database.close()
        store.close()
        if before is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = before
