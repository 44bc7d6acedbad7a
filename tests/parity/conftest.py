"""The parity cases: one run of a test for every case in the folder, and the measured errors at the end.

The folder is `data` here, or the one named by ECHOMIMIC_PARITY. A kind without any case is an error, not a skip.
"""

import json
import os
from pathlib import Path

import pytest
import torch

FOLDER = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parent / "data")
KINDS = {"preview_case", "flash_case", "t5_case", "clip_case", "vae_case", "samplers"}
_measured: list[tuple[str, float, float]] = []


def pytest_generate_tests(metafunc):
    for kind in KINDS & set(metafunc.fixturenames):
        paths = sorted(FOLDER.glob(f"{kind}*.safetensors"))
        if not paths:
            raise pytest.UsageError(f"no {kind}*.safetensors in {FOLDER}")
        metafunc.parametrize(kind, paths, ids=[path.stem for path in paths])


@pytest.fixture
def folder():
    return FOLDER


@pytest.fixture
def sizes():
    """What the file of a variant's tiny transformer does not tell of its sizes."""

    def read(variant):
        config = json.loads((FOLDER / f"{variant}_config.json").read_text())["config"]
        return {"heads": config["heads"], "audio_dim": config["audio_dim"]}

    return read


@pytest.fixture
def agrees(request):
    """Assert that ours is the reference's to within a limit, by absolute error or relative to the reference's norm."""

    def check(ours, reference, limit, relative=False):
        assert ours.shape == reference.shape
        difference = (ours - reference).detach()
        error = torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(reference) if relative else 0
        error = float(error if relative else difference.abs().max())
        _measured.append((request.node.name, error, limit))
        assert error <= limit

    return check


def pytest_terminal_summary(terminalreporter):
    if _measured:
        terminalreporter.section("parity with the released code")
    for name, error, limit in _measured:
        terminalreporter.write_line(f"{error:8.1e} (limit {limit:.0e})  {name}")
