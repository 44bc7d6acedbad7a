"""Labels become negatives conditioned as at generation; what they name and is not there is one clear sentence."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.contract.errors import UserError
from engine.contract.records import NegativeRecord, StoredFile
from engine.nano.model import NanoModel
from engine.pipeline import LATENTS_KEY
from tests.trainer.labelled import changed, labelled, marked, stored
from trainer.__main__ import main
from trainer.subjects.labels import nano_negatives, read_labels

FACE, NOWHERE = (0.2, 0.1, 0.8, 0.8), (0.0, 0.95, 0.02, 1.0)


@pytest.fixture(scope="module")
def record(nano_folder, portrait, voice, tmp_path_factory) -> NegativeRecord:
    values = {"image": portrait, "audio": voice, "model": str(nano_folder), "prompt": "happy", "seed": 5}
    return labelled(values, {"sampling.steps": 2}, tmp_path_factory.mktemp("clip"), marked())


@pytest.fixture(scope="module")
def model(nano_folder) -> NanoModel:
    return NanoModel.load(nano_folder)


def test_a_label_becomes_the_clips_own_latents_under_its_own_conditions(record, model, nano_folder, write_labels):
    labels = write_labels(record)
    negatives, notes = nano_negatives(read_labels(labels), model, nano_folder, labels)
    latents = load_file(record.latents.path)[LATENTS_KEY]
    assert notes == []
    assert {negative.prompt for negative in negatives} == {"happy"}
    window = negatives[0]
    assert torch.equal(window.latents, latents[0, :, : window.latents.shape[1]])
    assert torch.equal(window.known[4:, 0], latents[0, :, 0])
    assert window.mask[0, :, 0, 0].nonzero().flatten().tolist() == [1, 2, 3]


def test_a_region_marks_the_points_of_the_face_that_lie_in_it(record, model, nano_folder, write_labels):
    def cells(region) -> list[int]:
        labels = write_labels(changed(record, issues=(marked(region=region),)))
        negatives, _ = nano_negatives(read_labels(labels), model, nano_folder, labels)
        return [int(negative.mask[0, 2].sum()) for negative in negatives]

    assert cells(FACE)[0] == 64
    assert 0 < cells((0.2, 0.1, 0.8, 0.4))[0] < 60
    with pytest.raises(UserError, match="no clip is left"):
        cells(NOWHERE)


def test_one_issue_can_be_learned_alone(record, write_labels):
    both = changed(record, issues=(marked(), marked((20, 25), "lips-off")))
    assert [found.id for found in read_labels(write_labels(both), "lips-off")[0].issues] == ["lips-off"]
    with pytest.raises(UserError, match="jitter"):
        read_labels(write_labels(record), "lips-off")


def test_every_bad_label_file_is_one_clear_line(record, nano_folder, write_labels, tmp_path, capsys):
    def said(labels: Path) -> str:
        assert main(["ndpo", "--model", str(nano_folder), "--labels", str(labels), "--run", str(tmp_path / "run")]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and not (tmp_path / "run").exists()
        return lines[0]

    gone = StoredFile(path=tmp_path / "gone.safetensors", sha256="0" * 64)
    other = StoredFile(path=record.latents.path, sha256="0" * 64)
    assert "cannot be read" in said(tmp_path / "nowhere.jsonl")
    assert "no clip that is bad" in said(write_labels())
    assert "no clip that is bad" in said(write_labels(changed(record, verdict="good", issues=())))
    assert "does not exist" in said(write_labels(changed(record, latents=gone)))
    assert "not what it was" in said(write_labels(changed(record, latents=other)))
    assert "kept no latents" in said(write_labels(changed(record, latents=None)))
    assert "image of clip" in said(write_labels(changed(record, inputs=record.inputs | {"image": gone})))
    adapted = record.request.model_copy(update={"lora": Path("a.safetensors")})
    assert "made with a LoRA" in said(write_labels(changed(record, request=adapted)))
    assert "another checkpoint" in said(write_labels(changed(record, checkpoint_sha256="0" * 64)))
    assert "mix the models" in said(write_labels(record, changed(record, variant="flash")))
    assert "preview" in said(write_labels(changed(record, variant="preview")))
    latents = load_file(record.latents.path)[LATENTS_KEY]
    for tensor, words in ((latents[:, :8], "another clip's"), (latents / 0, "not all numbers"), (None, "holds no")):
        kept = {"something": latents} if tensor is None else {LATENTS_KEY: tensor.contiguous()}
        save_file(kept, tmp_path / "kept.safetensors")
        assert words in said(write_labels(changed(record, latents=stored(tmp_path / "kept.safetensors"))))
    broken = write_labels(record)
    broken.write_text(broken.read_text() + json.dumps({"clip_id": "x"}) + "\n")
    assert "Line 2" in said(broken)
