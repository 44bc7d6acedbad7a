"""From a checkpoint to a block of Negative-DPO over HTTP: candidates, labels by a rule, the export, the trainer."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from engine.contract.records import NegativeRecord
from goals.trainer.tiny import write_corpus
from tests.serving import ROOT, free_port, serving
from trainer.__main__ import main
from trainer.data.synthetic_clips import ClipMaker

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real studio, which starts with the bundled model."""
    port, data = free_port(), tmp_path_factory.mktemp("data")
    with serving("app.py", "--port", str(port), "--data", str(data), port=port, log=data / "log.txt"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def candidates(address: str, nano_folder: Path, portrait: Path, voice: Path) -> list[dict]:
    """Four clips of another checkpoint than the studio's, and how they were made."""
    media = ("--image", portrait, "--voice", voice)
    asked = ("--prompt", "calm", "--prompt", "happy", "--seeds", 2, "--first-seed", 7, "--title", "By rule")
    done = example("candidates.py", nano_folder, *media, *asked, "--address", address)
    assert done.returncode == 0, done.stderr
    batch = int(done.stdout)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        listed = httpx.get(f"{address}/review/export/clips.jsonl", params={"batch": batch}).text.splitlines()
        if len(listed) == 4:
            return [json.loads(line) for line in listed]
        assert time.monotonic() < deadline, listed
        time.sleep(0.2)


def example(name: str, *arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"examples/{name}", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, input=given, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )


def lines(*said: dict) -> str:
    return "".join(json.dumps(each) + "\n" for each in said)


def test_labels_by_a_rule_reach_the_trainer_unchanged(
    address: str, candidates: list[dict], nano_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert {each["record"]["request"]["seed"] for each in candidates} == {7, 8}
    good, bad, worse, _ = (each["clip"] for each in candidates)
    rule = lines(
        {"clip": good, "issue": None},
        {"clip": bad, "issue": "jitter", "severity": 3, "span_s": [0.2, 0.8]},
        {"clip": worse, "issue": "blur"},
        {"clip": worse, "issue": "lips-off", "severity": 1, "span_s": None, "region": [0.2, 0.1, 0.8, 0.8]},
    )
    labels = tmp_path / "labels.jsonl"
    done = example("label_by_rule.py", address, "By rule", "-", labels, given=rule)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 bad, 1 good, 1 without a rule")
    records = {record.clip_id: record for record in map(NegativeRecord.model_validate_json, labels.open())}
    assert set(records) == {good, bad, worse}
    assert {record.annotator for record in records.values()} == {"rule"}
    (jitter,) = records[bad].issues
    assert (jitter.id, jitter.severity, jitter.frames) == ("jitter", 3, (5, 20))
    assert [(issue.id, issue.severity) for issue in records[worse].issues] == [("blur", 2), ("lips-off", 1)]

    monkeypatch.setattr("trainer.subjects.nano_subject.ClipMaker", partial(ClipMaker, faces=8))
    corpus = write_corpus(tmp_path / "corpus")
    asked = ["ndpo", "--model", nano_folder, "--labels", labels, "--run", tmp_path / "run", "--corpus", corpus]
    assert main([str(each) for each in (*asked, "--steps", 1, "--negatives", 2)]) == 0
    assert (tmp_path / "run" / "model").is_dir()


def test_what_a_rule_cannot_say_is_one_line(address: str, candidates: list[dict], tmp_path: Path):
    clip = candidates[0]["clip"]

    def refused(rule: str, batch: str = "By rule") -> str:
        done = example("label_by_rule.py", address, batch, "-", tmp_path / "out.jsonl", "--annotator", "x", given=rule)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        return done.stderr

    assert "Line 1" in refused("jitter\n")
    assert "cannot be good" in refused(lines({"clip": clip, "issue": None}, {"clip": clip, "issue": "jitter"}))
    assert "no batch 'Nowhere'" in refused("", "Nowhere")
    assert not (tmp_path / "out.jsonl").exists()
