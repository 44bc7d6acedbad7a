"""Nano after one person's motion: LoRA on a talk, held-out frames that tell, a folder that the engine loads."""

import numpy as np
import pytest
import soundfile
import torch

from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter
from engine.nano.model import NanoModel
from tests.conftest import RATE_HZ, voice_like
from trainer.__main__ import main
from trainer.metrics.held_out import synthetic_reference
from trainer.objectives import personalise as personal
from trainer.objectives.personalise import Talk, personalise, read_talk

FRAMES = 150


@pytest.fixture(scope="module")
def model(nano_folder) -> NanoModel:
    return NanoModel.load(nano_folder)


@pytest.fixture(scope="module")
def talk(model) -> Talk:
    """A face that nods and opens its mouth to a rhythm, and hears it."""
    still = synthetic_reference(model, 0).landmarks_px
    times_s = np.arange(FRAMES) / 25
    moved = np.repeat(still[None], FRAMES, axis=0)
    moved[:, :, 1] += 15 * np.sin(2 * np.pi * times_s)[:, None]
    moved[:, [14, 87, 317, 17, 152], 1] += 20 * (1 + np.sin(2 * np.pi * 3 * times_s))[:, None]
    audio = torch.from_numpy(np.sin(2 * np.pi * 3 * times_s).astype(np.float32))
    return Talk(moved.astype(np.float32), audio[:, None, None, None].expand(-1, 5, 1, 8))


def test_a_talk_makes_the_model_better_on_frames_that_it_did_not_see(model, talk, tmp_path, monkeypatch):
    monkeypatch.setattr(personal, "RANK", 4)
    folder, before, after = personalise(talk, model, tmp_path, steps=40, seed=0)
    assert after < before
    learned = NanoModel.load(folder)
    assert set(learned.state_dict()) == set(model.state_dict())
    changed = [
        name for name, tensor in learned.state_dict().items() if not torch.equal(tensor, model.state_dict()[name])
    ]
    assert changed and all(name.startswith("transformer.blocks.") for name in changed)
    assert personalise(talk, model, tmp_path, steps=40, seed=0) == (folder, before, after)


def test_a_film_becomes_landmarks_and_what_nano_hears(model, portrait, tmp_path, monkeypatch):
    monkeypatch.setattr(personal, "LEAST_S", 0.5)
    path = film(tmp_path / "film.mp4", portrait, 25)
    read = read_talk(path, model)
    assert read.frames == len(read.audio) >= 20
    assert read.landmarks_px.shape[1:] == (468, 3)


def film(path, portrait, frames: int, voice: np.ndarray | None = None):
    picture = even_size(read_picture(portrait))
    sound = voice_like(frames / 25, 48_000) if voice is None else voice
    with VideoWriter(path, (picture.shape[1], picture.shape[0]), 25, sound, sample_rate_hz=48_000) as writer:
        for _ in range(frames):
            writer.write(picture)
    return path


def test_a_video_that_cannot_be_learned_from_is_one_clear_line(nano_folder, portrait, tmp_path, capsys):
    def said(path, *more: str) -> str:
        assert main(["personalise", str(path), "--run", str(tmp_path / "run"), *more]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and not (tmp_path / "run").exists()
        return lines[0]

    assert "no video" in said(tmp_path / "nothing.mp4")
    assert "at least 6 s" in said(film(tmp_path / "short.mp4", portrait, 10), "--model", str(nano_folder))
    sound = tmp_path / "sound.wav"
    soundfile.write(sound, voice_like(1.0), RATE_HZ)
    assert "takes nano" in said(sound, "--model", "flash")
    silence = film(tmp_path / "silent.mp4", portrait, 151, np.zeros(151 * 1920, np.float32))
    assert "silent" in said(silence, "--model", str(nano_folder))
