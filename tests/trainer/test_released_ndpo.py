"""Negative-DPO of a released model: a clip that it made and people marked, from labels to a folder that loads."""

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import UMT5EncoderModel

from engine.contract.records import NegativeRecord, StoredFile
from engine.contract.variants import TRANSFORMER_WEIGHTS
from engine.media.inputs import read_inputs
from engine.pipeline import LATENTS_KEY
from engine.wan.animator import PixelAnimator
from engine.wan.layout import AUTOENCODER_FILE, IMAGE_FILE, TEXT_FILE
from tests.released_layout import AUDIO_WIDTH, IMAGE_WIDTH, SPEECH_LAYERS, TEXT_WIDTH, write_released_model
from tests.trainer.labelled import changed, labelled, marked, stored
from tests.trainer.test_released import PARITY, write_shards
from trainer.__main__ import main
from trainer.loop.checkpoint import read_rows
from trainer.subjects import released
from trainer.subjects.labels import read_labels
from trainer.subjects.released_negatives import ReleasedPool, released_negatives

TOP_LEFT = (0.0, 0.0, 0.5, 0.5)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {name: write_released_model(place / name, name, PARITY) for name in ("preview", "flash")}


@pytest.fixture(scope="module")
def records(folders, portrait, voice, tmp_path_factory) -> dict[str, NegativeRecord]:
    """A clip of each tiny model, bad in its upper left for a while."""

    def made(folder: Path) -> NegativeRecord:
        values = {"image": portrait, "audio": voice, "model": str(folder), "prompt": "a person speaks", "seed": 3}
        settings = {"sampling.steps": 2, "sampling.size_px": 128}
        return labelled(values, settings, tmp_path_factory.mktemp("clip"), marked((5, 10), region=TOP_LEFT))

    return {name: made(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def folder(folders) -> Path:
    return folders["preview"]


@pytest.fixture(scope="module")
def record(records) -> NegativeRecord:
    return records["preview"]


@pytest.fixture
def block(folder, tmp_path, write_labels) -> Callable[..., int]:
    """`ndpo` of some records, in two steps."""
    data = ["--data", str(tmp_path / "data"), "--validation-data", str(tmp_path / "held_out"), "--batch", "2"]

    def run(records: list[NegativeRecord], *flags: str, run: str = "run", model: Path = folder) -> int:
        layers = SPEECH_LAYERS if records[0].variant == "flash" else 0
        for name, first in (("data", 0), ("held_out", 10)):
            widths = {"text": TEXT_WIDTH, "image": IMAGE_WIDTH, "audio": AUDIO_WIDTH}
            write_shards(tmp_path / name, first, **widths, layers=layers)
        named = ["--model", str(model), "--labels", str(write_labels(*records)), "--run", str(tmp_path / run)]
        return main(["ndpo", *named, *data, "--steps", "2", "--rate-share", "1", *flags])

    return run


def test_a_label_becomes_the_clips_own_latents_under_what_it_was_made_with(folder, record, write_labels):
    animator = PixelAnimator(folder, "preview", torch.float32, torch.device("cpu"))
    labels = write_labels(record)
    (negative,), notes = released_negatives(read_labels(labels), animator, folder, labels)
    latents = load_file(record.latents.path)[LATENTS_KEY][0]
    clip = animator.encode(read_inputs(record.request), record.request)
    assert notes == [] and torch.equal(negative.latents, latents)
    for name in ("known", "text", "image", "audio", "face_mask"):
        torch.testing.assert_close(negative.conditions[name].float(), getattr(clip, name)[0], atol=2e-3, rtol=2e-3)
    height, width = latents.shape[2:]
    marked = negative.mask[0]
    assert marked.flatten(1).any(1).nonzero().flatten().tolist() == [2, 3]
    assert bool(marked[2, : height // 2, : width // 2].all()) and float(marked[2].sum()) == height * width / 4
    one, again = (ReleasedPool([negative], 4).draw(1, 3, 5.0) for _ in range(2))
    assert torch.equal(one.eps, again.eps) and not torch.equal(one.eps[0], one.eps[1])
    assert one.conditions["modal_weights"].tolist() == [[1.0] * 3] * 3


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("preview", []),
        ("preview", ["--lora", "2", "--reference", "lora-off"]),
        ("flash", []),
        ("flash", ["--lora", "2", "--reference", "lora-off"]),
    ],
)
def test_a_block_moves_the_model_off_the_clip(name, flags, folders, records, block, tmp_path, capsys):  # noqa: PLR0917 (fixtures)
    assert block([records[name]], *flags, model=folders[name]) == 0
    made = Path(capsys.readouterr().out.strip())
    before, after = (load_file(model / TRANSFORMER_WEIGHTS) for model in (folders[name], made))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    rows = read_rows(tmp_path / "run" / "loss.jsonl")
    assert rows[0]["distance"] == pytest.approx(0, abs=1e-5)
    assert rows[1]["distance"] > rows[0]["distance"]
    PixelAnimator(made, name, torch.float32, torch.device("cpu"))


def test_encoders_are_read_once_for_all_clips_and_are_gone_before_the_transformer_is_read(
    record, block, monkeypatch, capsys
):
    read: list[str] = []
    load, load_transformer = torch.load, released.load_transformer

    def reading(file: Path, **options: Any) -> Any:
        read.append(Path(file).name)
        return load(file, **options)

    def reading_transformer(*arguments: Any, **options: Any) -> Any:
        assert not any(type(found) is UMT5EncoderModel for found in gc.get_objects())
        return load_transformer(*arguments, **options)

    monkeypatch.setattr(torch, "load", reading)
    monkeypatch.setattr(released, "load_transformer", reading_transformer)
    assert block([record, changed(record, issues=(marked((12, 20)),))]) == 0, capsys.readouterr().err
    assert sorted(read) == sorted([AUTOENCODER_FILE, IMAGE_FILE, TEXT_FILE])


def test_what_cannot_be_learned_from_is_one_clear_line(record, block, nano_folder, tmp_path, capsys):
    def said(*records: NegativeRecord, **how) -> str:
        assert block(list(records), **how) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and not (tmp_path / "run").exists()
        return lines[0]

    gone = StoredFile(path=tmp_path / "gone.safetensors", sha256="0" * 64)
    save_file({LATENTS_KEY: torch.zeros(1, 16, 3, 4, 4)}, tmp_path / "small.safetensors")
    assert "mix the models" in said(record, changed(record, variant="flash"))
    assert "does not exist" in said(changed(record, latents=gone))
    assert "another clip's" in said(changed(record, latents=stored(tmp_path / "small.safetensors")))
    assert "another checkpoint" in said(changed(record, checkpoint_sha256="0" * 64))
    assert "of the model flash" in said(changed(record, variant="flash"))
    assert "of the model preview" in said(record, model=nano_folder)


def test_the_cycle_is_the_same_for_a_released_model(folder, record, write_labels, tmp_path, capsys):
    for name, first in (("data", 0), ("held_out", 10)):
        write_shards(tmp_path / name, first, text=TEXT_WIDTH, image=IMAGE_WIDTH, audio=AUDIO_WIDTH)
    data = ["--data", str(tmp_path / "data"), "--validation-data", str(tmp_path / "held_out"), "--batch", "2"]
    steps = ["--steps", "2", "--sft-steps", "2", "--rate-share", "1", "--lora", "2", "--reference", "lora-off"]
    cycle = ["cycle", "--model", str(folder), "--run", str(tmp_path / "cycles"), *data, *steps]
    assert main(cycle) == 0
    assert f"--model {folder}" in capsys.readouterr().out
    shutil.copy(write_labels(record), tmp_path / "cycles" / "1" / "labels.jsonl")
    assert main(cycle) == 0
    behind = tmp_path / "cycles" / "1" / "sft" / "model"
    assert f"Cycle 2 of 2 waits for labels. Generate clips with --model {behind}" in capsys.readouterr().out
    models = (folder, tmp_path / "cycles" / "1" / "ndpo" / "model", behind)
    begun, unlearned, learned = (load_file(model / TRANSFORMER_WEIGHTS) for model in models)
    for one, other in ((begun, unlearned), (unlearned, learned)):
        assert any(not torch.equal(one[name], other[name]) for name in one)
    PixelAnimator(behind, "preview", torch.float32, torch.device("cpu"))


def test_a_cycle_of_a_released_model_says_what_it_needs_before_it_waits(folder, tmp_path, capsys):
    assert main(["cycle", "--model", str(folder), "--run", str(tmp_path / "cycles")]) == 2
    assert "--data" in capsys.readouterr().err and not (tmp_path / "cycles").exists()
