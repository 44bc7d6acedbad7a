"""A studio on the small engine, in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.contract.request import GenerationRequest, build_request
from studio.jobs import JobStore
from studio.service import Studio
from studio.worker import Worker
from tests.studio.small_engine import SmallEngine


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def asked(portrait: Path, voice: Path) -> GenerationRequest:
    """A request for two steps."""
    return request_for(portrait, voice)


@pytest.fixture
def small_engine() -> SmallEngine:
    return SmallEngine()


@pytest.fixture
def studio(store: JobStore, small_engine: SmallEngine) -> Iterator[Studio]:
    """A studio whose worker is running."""
    ports = small_engine.ports()
    worker = Worker(store, ports)
    worker.start()
    yield Studio(ports, store, worker, "nano")
    worker.stop()


def request_for(image: Path, audio: Path, seed: int = 0, steps: int = 2) -> GenerationRequest:
    values: dict[str, Any] = {"image": image, "audio": audio, "seed": seed, "out": "video.mp4"}
    return build_request(values, {"sampling.steps": steps})
