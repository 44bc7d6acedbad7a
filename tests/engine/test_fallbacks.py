"""What goes wrong in the middle of a job: no memory, numbers that overflow, a full disk."""

import os
import resource
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine.__main__ import main
from engine.contract.errors import UserError
from engine.contract.request import build_request
from engine.contract.variants import TRANSFORMER_WEIGHTS
from engine.media.video import read_video_frames
from engine.session import Session
from engine.wan.transformer import EchoMimicTransformer3DModel
from tests.conftest import RATE_HZ, voice_like
from tests.released_layout import write_released_model

PARITY = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[1] / "parity" / "data")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_released_model(tmp_path_factory.mktemp("models") / "preview", "preview", PARITY)


@pytest.fixture(scope="module")
def word(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Less than half a second of voice: three latent frames."""
    path = tmp_path_factory.mktemp("voice") / "word.wav"
    soundfile.write(path, voice_like(0.34), RATE_HZ)
    return path


@pytest.fixture
def run(folder: Path, word: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    """Runs text-to-video on the tiny released model; gives the exit code, what was said, and the file."""

    def generate(*flags: str, model: Path = folder) -> tuple[int, list[str], Path]:
        out = tmp_path / "out.mp4"
        media = ["--task", "text-to-video", "--prompt", "a person speaks", "--audio", str(word), "--out", str(out)]
        fast = [
            "--sampling.size_px",
            "128",
            "--steps",
            "3",
            "--guidance.text",
            "1",
            "--guidance.audio",
            "1",
            "--seed",
            "7",
        ]
        code = main(["generate", "--model", str(model), *media, *fast, *flags])
        return code, capsys.readouterr().err.strip().splitlines(), out

    return generate


@contextmanager
def before_every_forward(act: Callable[[nn.Module], None]) -> Iterator[None]:
    def hook(module: nn.Module, _inputs: object) -> None:
        if isinstance(module, EchoMimicTransformer3DModel):
            act(module)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def frames(path: Path) -> np.ndarray:
    return np.stack(list(read_video_frames(path)))


def test_a_job_that_runs_out_of_memory_is_done_in_the_next_mode_and_says_so(run):
    code, _, out = run("--runtime.memory", "full")
    assert code == 0
    undisturbed, seen = frames(out), []

    def run_out(module: nn.Module) -> None:
        if not seen or seen[0]() is not module:
            # What ran out is gone before the next is loaded, or both would have to fit.
            assert all(older() is None for older in seen)
            seen.insert(0, weakref.ref(module))
        run_out.forwards += 1
        if run_out.forwards == 2:
            torch.empty(2**55)

    run_out.forwards = 0
    with before_every_forward(run_out):
        code, said, out = run("--runtime.memory", "full")
    assert code == 0 and len(seen) == 2
    assert np.array_equal(frames(out), undisturbed)
    fallback = "Note: Memory ran out in the mode full: done again in the mode balanced."
    assert said.count(fallback) == 1
    assert said[0].startswith("Note: Memory mode full: needs about")


def test_where_no_mode_is_left_it_is_one_line_and_no_file(run):
    modes = []

    def run_out(module: nn.Module) -> None:
        modes.append(1)
        torch.empty(2**55)

    with before_every_forward(run_out):
        code, said, out = run("--runtime.memory", "quantised")
    assert code == 2 and not out.exists() and len(modes) == 2
    assert said[-1].startswith("error: Memory ran out in the mode low") and "sampling.size_px" in said[-1]


def test_a_clip_that_cannot_fit_is_refused_before_the_model_is_loaded(run, monkeypatch):
    from engine.wan import devices

    monkeypatch.setattr(devices, "free_bytes", lambda device, held: 1e5)
    loaded = []
    with before_every_forward(loaded.append):
        code, said, out = run()
    assert code == 2 and not loaded and not out.exists()
    assert len(said) == 1 and "needs at least" in said[0]


@pytest.fixture
def louder(folder: Path, tmp_path: Path):
    """The model with its output multiplied."""

    def scaled(factor: float) -> Path:
        copied = write_released_model(tmp_path / "loud" / "preview", "preview", PARITY)
        state = load_file(copied / TRANSFORMER_WEIGHTS)
        state["head.head.weight"] *= factor
        save_file(state, copied / TRANSFORMER_WEIGHTS)
        return copied

    return scaled


def test_numbers_that_overflow_in_half_precision_are_done_again_in_float32(run, louder):
    code, said, out = run("--runtime.precision", "fp16", model=louder(1e7))
    assert code == 0 and out.is_file()
    assert said.count("Note: Numbers overflowed in fp16: done again in fp32.") == 1


def test_numbers_that_overflow_in_float32_are_one_line_and_no_file(run, louder):
    code, said, out = run(model=louder(1e38))
    assert code == 2 and not out.exists()
    assert "overflowed even in float32" in said[-1]


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond a few kB, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_leaves_nothing(nano_folder, portrait, voice, tmp_path, capfd):
    out = tmp_path / "out" / "out.mp4"
    out.parent.mkdir()
    media = ["--image", str(portrait), "--audio", str(voice), "--out", str(out), "--steps", "2"]
    with small_disk():
        code = main(["generate", "--model", str(nano_folder), *media])
    assert code == 2
    lines = [line for line in capfd.readouterr().err.strip().splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "full" in lines[0] and "--out" in lines[0]
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(("mode", "precision"), [("balanced", "fp32"), ("quantised", "bf16"), ("low", "bf16")])
def test_every_memory_mode_goes_from_folder_to_file(run, mode: str, precision: str):
    code, said, out = run("--runtime.memory", mode, "--runtime.precision", precision)
    assert code == 0 and out.is_file()
    assert said[0].startswith(f"Note: Memory mode {mode}: needs about")


def test_a_second_job_does_not_take_the_loaded_model_for_somebody_elses(folder, word, tmp_path):
    session, plans = Session(), []
    values = {"task": "text-to-video", "prompt": "a person", "audio": word, "model": str(folder)}
    request = build_request(values | {"out": tmp_path / "o.mp4"}, {"sampling.size_px": 128, "sampling.steps": 1})
    held = []
    for _ in range(2):
        held.append(session._held_bytes())
        session.generate(request, lambda progress: plans.append(progress.note) if progress.note else None)
    assert held == [0, sum(p.nbytes for p in next(iter(session._models.values())).transformer.parameters())]
    assert len(session._models) == 1 and all(plan.startswith("Memory mode full") for plan in plans)


def test_warming_a_released_model_up_needs_it_to_be_there(folder, tmp_path):
    Session().warm_up(str(folder))
    (tmp_path / "wav2vec2-base-960h").mkdir()
    with pytest.raises(UserError, match="not installed"):
        Session().warm_up(str(tmp_path))


def test_a_kernel_that_is_not_installed_is_said_before_the_model_is_loaded(run):
    for kernel in ("flash", "sage", "xformers"):
        code, said, _ = run("--runtime.attention", kernel)
        assert code == 2 and len(said) == 1
        assert f"The attention kernel {kernel} cannot be used" in said[0] and "choose native" in said[0]
