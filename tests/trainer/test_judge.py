import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.contract.variants import NANO
from engine.nano.face_motion import CONTROL_POINTS, SLOTS
from engine.nano.model import NanoModel
from trainer.__main__ import main
from trainer.objectives.judge import RULES, mouth_opening


def kept_latents(path: Path, yaw: np.ndarray) -> Path:
    """A resting face of the bundled nano that turns by `yaw` [F], as a job keeps it."""
    autoencoder = NanoModel.load(NANO.folder).autoencoder
    points = autoencoder.mean_face[CONTROL_POINTS, :2][None].expand(len(yaw), -1, -1)[None]
    slots = torch.zeros(1, len(yaw), len(SLOTS))
    slots[0, :, SLOTS.index("yaw")] = torch.from_numpy(yaw).float()
    save_file({"latents": autoencoder.pack(points, points[:, 0], slots).contiguous()}, path)
    return path


def listed(clip: str, latents: Path | None) -> dict[str, object]:
    made = {"face_box": [0.2, 0.2, 0.6, 0.7], "checkpoint_sha256": NanoModel.load(NANO.folder).checkpoint_sha256}
    return {"clip": clip * 64, "latents": latents and str(latents), "record": made}


@pytest.fixture
def clips(tmp_path) -> Path:
    """A batch of a head that turns smoothly and one that trembles."""
    times_s = np.arange(97) / 25
    turning = kept_latents(tmp_path / "turning.safetensors", 0.1 * np.sin(times_s))
    trembling = kept_latents(tmp_path / "trembling.safetensors", 0.02 * np.sin(2 * np.pi * 3 * times_s))
    path = tmp_path / "clips.jsonl"
    lines = [listed("a", turning), listed("b", trembling)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_head_that_trembles_is_labelled_and_one_that_turns_is_not(clips, capsys):
    assert main(["judge", str(clips), "--issue", "jitter", "--over", "20"]) == 0
    told = capsys.readouterr()
    said = {line["clip"][0]: line["issue"] for line in map(json.loads, told.out.splitlines())}
    assert said == {"a": None, "b": "jitter"}
    assert told.err.startswith("1 of 2 clips")


def test_clips_without_latents_and_lists_of_something_else_are_said(clips, tmp_path, capsys):
    clips.write_text(json.dumps(listed("a", None)))
    assert main(["judge", str(clips), "--issue", "jitter", "--over", "20"]) == 2
    assert "kept no latents" in capsys.readouterr().err
    (tmp_path / "other.jsonl").write_text("[]\n")
    assert main(["judge", str(tmp_path / "other.jsonl"), "--issue", "jitter", "--over", "20"]) == 2
    assert "is no list of clips" in capsys.readouterr().err
    clips.write_text(json.dumps(listed("a", tmp_path / "gone.safetensors")))
    assert main(["judge", str(clips), "--issue", "jitter", "--over", "20"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_clips_of_another_checkpoint_are_refused(clips, nano_folder, capsys):
    assert main(["judge", str(clips), "--model", str(nano_folder), "--issue", "jitter", "--over", "20"]) == 2
    assert "was made by another checkpoint" in capsys.readouterr().err


def test_a_mouth_is_measured_from_the_picture_up():
    autoencoder = NanoModel.load(NANO.folder).autoencoder
    rest = autoencoder.mean_face[CONTROL_POINTS, :2][None].expand(97, -1, -1)[None]
    opened = rest.clone()
    lower = [CONTROL_POINTS.tolist().index(point) for point in (87, 14, 317)]
    opened[0, 20:60, lower, 1] += 0.07
    latents = autoencoder.pack(opened, rest[:, 0], torch.zeros(1, 97, len(SLOTS)))
    assert mouth_opening(autoencoder, latents) == pytest.approx(0.07, abs=1e-4)


def test_a_rule_that_looks_at_the_mouth_marks_the_middle_of_the_lower_face():
    left, top, right, bottom = RULES["exaggerated-motion"].region((0.2, 0.2, 0.6, 0.7))
    assert 0.2 < left < 0.4 < right < 0.6 and 0.45 < top < bottom == pytest.approx(0.7)
    assert RULES["jitter"].region((0.2, 0.2, 0.6, 0.7)) is None
