import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from engine.contract.errors import FaceNotFound, UserError
from engine.media.video import VideoWriter
from trainer.cli.evaluate_command import add_arguments, find_videos, run
from trainer.metrics.lip_metrics import lip_metrics
from trainer.metrics.mouth import aperture_track
from trainer.metrics.syncnet import SyncNet
from trainer.metrics.video_evaluation import evaluate_video


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(argument) for argument in given])


def syncnet_weights(folder: Path) -> tuple[str | Path, ...]:
    """Random weights in SyncNet's layout, and a list in which they are published: only the way there is tried."""
    torch.manual_seed(0)
    torch.save(SyncNet().state_dict(), folder / "syncnet_v2.model")
    sha256 = hashlib.sha256((folder / "syncnet_v2.model").read_bytes()).hexdigest()
    (folder / "published.yaml").write_text(f"syncnet: [{{sha256: {sha256}}}]")
    (folder / "weights.yaml").write_text("syncnet: syncnet_v2.model")
    return "--weights", folder / "weights.yaml", "--published", folder / "published.yaml"


def test_a_filmed_mouth_that_follows_its_voice_is_found_to_do_so(film, tmp_path, capsys):
    video = film()
    out = tmp_path / "lips.json"
    page = tmp_path / "report" / "report.md"
    times = tmp_path / "times.json"
    times.write_text(json.dumps({video.name: 12.5}))
    given = ("--json", out, "--english", "--report", page.parent, "--title", "Hopper", "--times", times)
    assert run(arguments(video, *given, *syncnet_weights(tmp_path))) == 0
    whole = json.loads(out.read_text())
    assert whole == json.loads((tmp_path / "report" / "report.json").read_text())
    assert whole["set"]["videos"] == 1 and set(whole["set"]["canonical"]) == {"Sync-C", "Sync-D"}
    assert whole["set"]["proxy"]["mesh_lip_r"]["n"] == 1 and "inception" in whole["set"]["not_measured"]["FID"]
    assert "| Hopper | – | 12.5 s |" in page.read_text() and "`proxy/identity`" in page.read_text()
    assert page.with_suffix(".png").stat().st_size > 1000
    (report,) = whole["videos"]
    assert report["path"] == str(video) and len(report["sha256"]) == 64 and report["fps"] == 25.0
    mesh = report["proxy"]["mesh_lip_r"]
    assert mesh["r"] > 0.8 and abs(mesh["lag_frames"]) <= 1 and mesh["p"] < 0.05 and mesh["coverage"] == 1.0
    assert mesh["r"] > mesh["null_95"]
    assert report["proxy"]["viseme_r"]["r"] > 0.3
    assert report["canonical"]["Sync-D"] > 0 and {"identity", "flicker", "jerk", "hand_presence"} <= set(
        report["proxy"]
    )
    printed = capsys.readouterr().out
    assert "proxy/mesh_lip_r" in printed and "proxy/viseme_r" in printed


def test_a_late_mouth_at_another_frame_rate_has_its_lag_in_frames_of_a_25th(film):
    evaluation = evaluate_video(film(delay_frames=5, fps=30))
    assert evaluation.fps == 30.0
    assert evaluation.mesh_lip_r.r > 0.7
    assert abs(evaluation.mesh_lip_r.lag_frames - 5) <= 1
    assert evaluation.viseme_r is None and "viseme_r" not in evaluation.as_json()["proxy"]


def test_only_a_mouth_beside_its_own_voice_is_measured(speech_wav):
    audio, _ = soundfile.read(speech_wav, dtype="float32")
    frames = len(audio) // 640
    mouth = np.random.default_rng(0).random(frames)
    with pytest.raises(UserError, match="No speech"):
        lip_metrics(mouth, np.zeros(len(audio), dtype=np.float32), english=False)
    with pytest.raises(UserError, match="too short"):
        lip_metrics(mouth[:60], audio, english=False)


def test_a_frame_without_a_face_is_nan(picture):
    track = aperture_track([picture, np.full_like(picture, 128), picture])
    assert np.isnan(track).tolist() == [False, True, False]


def test_a_video_without_a_face_sound_or_file_is_refused_in_one_sentence(film, speech_wav, tmp_path):
    audio, _ = soundfile.read(speech_wav, dtype="float32")
    grey = tmp_path / "grey.mp4"
    with VideoWriter(grey, (64, 64), 25, audio) as writer:
        for _ in range(5):
            writer.write(np.full((64, 64, 3), 128, np.uint8))
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    with pytest.raises(FaceNotFound, match=r"grey\.mp4: no face"):
        run(arguments(grey))
    for path, complaint in ((film(sound=False), "sound"), (tmp_path / "none.mp4", "does not exist"), (text, "read")):
        with pytest.raises(UserError, match=complaint) as refusal:
            run(arguments(path))
        assert "\n" not in refusal.value.message
    with pytest.raises(UserError, match="does not exist"):
        run(arguments(grey, "--json", tmp_path / "nowhere" / "lips.json"))


def test_times_that_are_none_are_refused(tmp_path):
    video = tmp_path / "film.mp4"
    video.touch()
    times = tmp_path / "times.json"
    for text in ("[1, 2]", "{", '{"film.mp4": "long"}'):
        times.write_text(text)
        with pytest.raises(UserError, match="times"):
            run(arguments(video, "--times", times))


def test_a_folder_stands_for_its_videos(tmp_path):
    (tmp_path / "b.MP4").touch()
    (tmp_path / "a.mov").touch()
    (tmp_path / "notes.txt").touch()
    assert find_videos(tmp_path) == [tmp_path / "a.mov", tmp_path / "b.MP4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no videos"):
        find_videos(tmp_path / "empty")
