"""The parity cases: one run of a test for every case in the folder, and the measured errors at the end.

The folder is `data` here, or the one named by ECHOMIMIC_PARITY. A kind without any case is an error, not a skip.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

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
def config():
    """The sizes of the tiny transformer of a variant, in our constructor's words."""

    def read(variant):
        sizes = json.loads((FOLDER / f"{variant}_config.json").read_text())["config"]
        shapes = {key: tensor.shape for key, tensor in load_file(FOLDER / f"{variant}_weights.safetensors").items()}
        config = {
            "patch_size": tuple(sizes["patch_size"]),
            "num_attention_heads": sizes["heads"],
            "attention_head_dim": sizes["dim"] // sizes["heads"],
            "in_channels": sizes["in_channels"],
            "out_channels": sizes["out_channels"],
            "text_dim": sizes["tdim"],
            "freq_dim": shapes["time_embedding.0.weight"][1],
            "ffn_dim": sizes["ffn"],
            "num_layers": sizes["layers"],
            "image_dim": sizes["image_dim"],
            "audio_dim": sizes["audio_dim"],
        }
        if variant == "flash":
            config |= {
                "audio_layers": shapes["audio_injection.proj1.weight"][1] // (5 * sizes["audio_dim"]),
                "audio_intermediate_dim": shapes["audio_injection.proj1.weight"][0],
                "audio_context_tokens": shapes["audio_injection.proj3.weight"][0] // sizes["dim"],
            }
        return config

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
