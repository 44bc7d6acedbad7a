"""The canonical metrics with small stand-ins for what a user would bring: networks in the published files' form, and
programs in the place of other environments."""

import hashlib
import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from engine.contract.errors import UserError
from engine.media.video import VideoWriter
from trainer.metrics.canonical import canonical_metrics
from trainer.metrics.external import q_align_scores, vbench2_scores
from trainer.metrics.features import load_i3d, load_inception, motion_features, picture_features
from trainer.metrics.lag_correlation import LagCorrelation
from trainer.metrics.syncnet import SyncNet
from trainer.metrics.video_evaluation import VideoEvaluation
from trainer.metrics.weights import CanonicalWeights, QAlign, VBench2, check_published, published_hashes, read_weights


class SmallInception(nn.Module):
    def forward(self, pictures: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        return nn.functional.adaptive_avg_pool2d(pictures / 255, (2, 2)).flatten(1)


class SmallI3D(nn.Module):
    def forward(
        self, films: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        assert rescale and resize and return_features
        return torch.cat([films.mean((2, 3, 4)), films.diff(dim=2).abs().mean((2, 3, 4))], dim=1) / 255


def published(folder: Path, **files: Path) -> Path:
    """A list of published weights in which the given files stand."""
    listed = {kind: [{"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}] for kind, path in files.items()}
    path = folder / "published.yaml"
    path.write_text(yaml.safe_dump({"syncnet": [], "inception": [], "i3d": [], "q_align": []} | listed))
    return path


def film(path: Path, brightness: float, frames: int = 20, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    with VideoWriter(path, (32, 32), 25) as writer:
        for _ in range(frames):
            writer.write(np.clip(random.normal(brightness, 40, (32, 32, 3)), 0, 255).astype(np.uint8))
    return path


def evaluation(path: Path, frames: int = 20) -> VideoEvaluation:
    return VideoEvaluation(
        path, "0" * 64, frames, 25.0, (32, 32), 1.0, LagCorrelation(0.5, 0, 0.01, 0.3, 30, 20), None, {"flicker": 1.0}
    )


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    paths = {"inception": folder / "inception.pt", "i3d": folder / "i3d.pt"}
    torch.jit.script(SmallInception()).save(paths["inception"])
    torch.jit.script(SmallI3D()).save(paths["i3d"])
    return paths


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("films")
    return {
        name: [film(folder / f"{name}{number}.mp4", brightness, seed=number) for number in range(3)]
        for name, brightness in (("dark", 60), ("dim", 66), ("bright", 190))
    }


def test_fid_and_fvd_are_larger_for_films_that_are_less_alike(networks, films, tmp_path):
    listed = published(tmp_path, **networks)
    weights = CanonicalWeights(inception=networks["inception"], i3d=networks["i3d"])
    distances = {
        name: canonical_metrics([evaluation(path) for path in films[name]], weights, films["dark"], published=listed)
        for name in ("dark", "dim", "bright")
    }
    for metric in ("FID", "FVD"):
        values = [distances[name].measured[metric].interval.value for name in ("dark", "dim", "bright")]
        assert values[0] == pytest.approx(0.0, abs=1e-9)
        assert values[0] < values[1] < values[2]
    measured = distances["bright"].measured["FID"].as_json()
    assert measured["n"] == 3 and "299" in measured["resize"] and measured["resolution"] == "32×32"
    assert measured["weights_sha256"] == hashlib.sha256(networks["inception"].read_bytes()).hexdigest()


def test_features_are_of_sixteen_frames_and_of_whole_windows(networks, films, tmp_path):
    listed = published(tmp_path, **networks)
    assert picture_features(load_inception(networks["inception"], listed), films["dark"][0], 20).shape == (16, 12)
    i3d = load_i3d(networks["i3d"], listed)
    assert motion_features(i3d, films["dark"][0]).shape == (1, 6)
    assert motion_features(i3d, film(tmp_path / "long.mp4", 60, frames=35)).shape == (2, 6)
    with pytest.raises(UserError, match="shorter than the 16 frames"):
        motion_features(i3d, film(tmp_path / "short.mp4", 60, frames=10))


def test_what_is_not_given_is_left_out_with_its_reason(films):
    metrics = canonical_metrics([evaluation(path) for path in films["dark"]], CanonicalWeights(), [])
    assert not metrics.measured
    assert set(metrics.not_measured) == {"Sync-C", "Sync-D", "FID", "FVD", "IQA", "ASE", "VBench-2.0"}


def test_other_weights_than_the_published_ones_get_no_name(networks, tmp_path):
    with pytest.raises(UserError, match="not one of those") as refusal:
        load_inception(networks["inception"])
    assert hashlib.sha256(networks["inception"].read_bytes()).hexdigest() in refusal.value.message
    with pytest.raises(UserError, match=r"list in published_weights\.yaml is empty"):
        check_published(networks["i3d"], "q_align")
    with pytest.raises(UserError, match="do not exist"):
        check_published(tmp_path / "none.pt", "i3d")
    text = tmp_path / "text.pt"
    text.write_text("no network")
    with pytest.raises(UserError, match="no TorchScript"):
        load_inception(text, published(tmp_path, inception=text))


def test_every_listed_hash_is_a_sha256():
    for kind in ("syncnet", "inception", "i3d", "q_align"):
        assert all(len(value) == 64 and int(value, 16) for value in published_hashes(kind))
    assert published_hashes("syncnet") and published_hashes("inception") and published_hashes("i3d")


def test_the_users_file_is_checked_and_its_paths_are_relative_to_it(tmp_path):
    given = tmp_path / "weights.yaml"
    given.write_text("syncnet: nets/syncnet_v2.model\nq_align: {python: env/bin/python, model: one-align}\n")
    weights = read_weights(given)
    assert weights.syncnet == tmp_path / "nets/syncnet_v2.model"
    assert weights.q_align is not None and weights.q_align.model == tmp_path / "one-align"
    for text, complaint in (("sinknet: a", "sinknet"), ("vbench2: {python: a}", "vbench2.repository"), ("[", "read")):
        given.write_text(text)
        with pytest.raises(UserError, match=complaint) as refusal:
            read_weights(given)
        assert "\n" not in refusal.value.message
    with pytest.raises(UserError, match="does not exist"):
        read_weights(tmp_path / "none.yaml")


def test_syncnet_has_its_published_layout():
    network = SyncNet().eval().requires_grad_(False)
    names = set(network.state_dict())
    assert {"netcnnaud.0.weight", "netfcaud.3.weight", "netcnnlip.0.weight", "netfclip.0.weight"} <= names
    assert network.netcnnlip(torch.zeros(1, 3, 5, 224, 224)).shape == (1, 512, 1, 1, 1)
    assert network.netcnnaud(torch.zeros(1, 1, 13, 20)).shape == (1, 512, 1, 1)


def environment(folder: Path, package: str, code: str) -> Path:
    """A Python of its own that has one more package, as another environment would."""
    folder.mkdir()
    for name, text in json.loads(code).items() if code.startswith("{") else ((package, code),):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


Q_ALIGN = {
    "q_align/__init__.py": (
        "class QAlignScorer:\n"
        "    def __init__(self, **parts): assert parts['model'] == 'mplug_owl2'\n"
        "    def __call__(self, frames): return [0.25, 0.75]\n"
        "class QAlignAestheticScorer(QAlignScorer):\n"
        "    def __call__(self, frames): return [float(frames[0].endswith('0.mp4'))] * 2\n"
        "def load_video(path): return [path, path]\n"
    ),
    "q_align/model/__init__.py": "",
    "q_align/model/builder.py": "def load_pretrained_model(path, base, name, device): return None, name, None, None\n",
}


def test_q_align_is_asked_in_its_own_environment_and_only_with_published_weights(films, tmp_path):
    python = environment(tmp_path / "env", "q_align", json.dumps(Q_ALIGN))
    model = tmp_path / "one-align"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    settings = QAlign(python=python, model=model, device="cpu")
    listed = published(tmp_path, q_align=model / "model.safetensors")
    _, scores = q_align_scores(settings, films["dark"], listed)
    assert scores[films["dark"][0]] == {"IQA": 0.5, "ASE": 1.0} and scores[films["dark"][1]] == {"IQA": 0.5, "ASE": 0.0}
    metrics = canonical_metrics(
        [evaluation(path) for path in films["dark"]], CanonicalWeights(q_align=settings), [], published=listed
    )
    assert metrics.measured["ASE"].interval.value == pytest.approx(1 / 3)
    (model / "more.safetensors").write_bytes(b"others")
    with pytest.raises(UserError, match=r"more\.safetensors"):
        q_align_scores(settings, films["dark"], listed)


def test_an_environment_that_fails_says_so_in_one_sentence(films, tmp_path):
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    listed = published(tmp_path, q_align=model)
    broken = environment(tmp_path / "env", "q_align.py", "raise ImportError('no flash attention')")
    for python, complaint in ((broken, "no flash attention"), (tmp_path / "none", "cannot be started")):
        with pytest.raises(UserError, match=complaint) as refusal:
            q_align_scores(QAlign(python=python, model=model), films["dark"], listed)
        assert "\n" not in refusal.value.message


VBENCH = """\
import argparse, json, pathlib
p = argparse.ArgumentParser()
[p.add_argument(n) for n in ("--videos_path", "--dimension", "--output_path", "--mode")]
a = p.parse_args()
assert a.mode == "custom_input"
videos = sorted(pathlib.Path(a.videos_path).iterdir())
rows = [{"video_path": str(v), "video_results": i / 10} for i, v in enumerate(videos)]
out = pathlib.Path(a.output_path); out.mkdir()
(out / "results_1_eval_results.json").write_text(json.dumps({a.dimension: [0.1, rows]}))
"""


def test_vbench_is_run_in_its_repository_dimension_by_dimension(films, tmp_path):
    (tmp_path / "evaluate.py").write_text(VBENCH)
    settings = VBench2(python=Path(sys.executable), repository=tmp_path, dimensions=("Human_Identity", "Human_Anatomy"))
    scores = vbench2_scores(settings, films["dark"])
    assert set(scores) == {"Human_Identity", "Human_Anatomy"}
    assert [scores["Human_Anatomy"][path] for path in films["dark"]] == [0.0, 0.1, 0.2]
    (tmp_path / "evaluate.py").write_text("print('nothing')")
    with pytest.raises(UserError, match="wrote no results"):
        vbench2_scores(settings, films["dark"])
    with pytest.raises(UserError, match=r"no evaluate\.py"):
        vbench2_scores(VBench2(python=Path(sys.executable), repository=tmp_path / "elsewhere"), films["dark"])
