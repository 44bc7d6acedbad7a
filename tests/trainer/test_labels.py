"""Labels become negatives conditioned as at generation; what they name and is not there is one clear sentence."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.contract.errors import UserError
from engine.contract.records import NegativeIssue, NegativeRecord, StoredFile
from engine.nano.model import NanoModel
from engine.pipeline import LATENTS_KEY
from tests.trainer.labelled import changed, labelled, marked, stored
from trainer.__main__ import main
from trainer.subjects.labels import generated_frames, nano_negatives, read_labels
from trainer.subjects.negatives import NegativePool

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


def test_a_clip_without_latents_is_left_out_and_said(record, model, nano_folder, write_labels):
    bare = changed(record, latents=None, clip_id="b" * 64)
    labels = write_labels(bare, record)
    negatives, (note,) = nano_negatives(read_labels(labels), model, nano_folder, labels)
    alone, _ = nano_negatives([record], model, nano_folder, labels)
    assert len(negatives) == len(alone) and note.startswith("b" * 12) and "left out" in note


OTHERWISE = {
    "phase": "detail",
    "frames": (4, 20),
    "region": (0.2, 0.1, 0.8, 0.4),
    "severity": 3,
}


@pytest.mark.parametrize("field", sorted(set(NegativeIssue.model_fields) - {"id"}))
def test_every_field_of_a_label_changes_what_is_learned(field, record, model, nano_folder, write_labels):
    """But for the issue's name, which chooses the lines that are learned from at all."""

    def pool(issue: NegativeIssue) -> str:
        labels = write_labels(changed(record, issues=(issue,)))
        return NegativePool(nano_negatives(read_labels(labels), model, nano_folder, labels)[0], 0, model).sha256()

    assert pool(marked()) == pool(marked())
    assert pool(marked(**{field: OTHERWISE[field]})) != pool(marked())


def test_a_fault_is_unlearned_in_the_phase_that_makes_it_and_as_much_as_it_is_severe(
    record, model, nano_folder, write_labels
):
    both = (marked((4, 8), phase="motion", severity=1), marked((12, 16), "blur", phase="detail", severity=3))
    labels = write_labels(changed(record, issues=both))
    negatives, _ = nano_negatives(read_labels(labels), model, nano_folder, labels)
    told = [(negative.tau_range, negative.weight) for negative in negatives]
    assert set(told) == {((667.0, 1000.0), 0.5), ((0.0, 667.0), 1.5)}
    spans = [negative.mask[0].flatten(1).any(1).nonzero().flatten().tolist() for negative in negatives[:2]]
    assert spans == [[1, 2], [3, 4]], "each marks its own frames"
    batch = NegativePool(negatives, 1, model).draw(0, 64, 3.0)
    motion = batch.weight == 0.5
    assert bool(motion.any()) and bool((~motion).any())
    assert bool((batch.sigma[motion] >= 0.667).all()) and bool((batch.sigma[~motion] <= 0.667).all())
    assert float(batch.sigma[~motion].min()) < 0.3 and float(batch.sigma[motion].max()) > 0.9


@pytest.mark.parametrize(
    ("frames", "fps", "generated"),
    [((5, 10), 25, (5, 10)), ((6, 12), 30, (5, 10)), ((0, 1), 50, (0, 1)), ((7, 8), 24, (7, 9)), ((3, 4), 100, (0, 1))],
)
def test_frames_of_any_rate_are_those_generated_that_they_touch(frames, fps, generated):
    assert generated_frames(frames, fps) == generated


def test_a_line_of_version_1_is_still_learned_from(record, model, nano_folder, write_labels, tmp_path):
    old = json.loads(record.model_dump_json()) | {"schema_version": 1}
    del old["fps"]
    old["issues"] = [
        {
            "id": "jitter",
            "phase": "motion",
            "span_s": [0.16, 0.48],
            "span_frames": [4, 12],
            "region": None,
            "severity": 2,
        }
    ]
    labels = tmp_path / "old.jsonl"
    labels.write_text(json.dumps(old) + "\n")
    (read,) = read_labels(labels)
    assert read.issues == (marked((4, 12)),) and read.schema_version == 2 and read.fps == 25
