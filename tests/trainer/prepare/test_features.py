"""What shards hold is what the engine itself would encode, on a nano and on released models of tiny sizes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.contract.variants import SPEECH_ENCODERS, find_variant
from engine.media.face import find_face
from engine.nano.model import NanoModel
from engine.wan.animator import levelled
from engine.wan.encoders import AudioEncoder, TextEncoder, VideoAutoencoder
from engine.wan.layout import AUTOENCODER_FILE, BASE, TEXT_FILE, TOKENIZER
from tests.conftest import voice_like
from tests.released_layout import write_released_model
from tests.trainer.prepare.conftest import SMALL, row_of
from trainer.data.shards import Shards, write_manifest
from trainer.prepare.clip import clip_frames, clip_voice
from trainer.prepare.features import groups_of, halved, make_shard, shard_jobs
from trainer.prepare.released_features import clip_size, layer_windows
from trainer.prepare.rows import Row, Workshop, work_on
from trainer.prepare.settings import PrepareSettings
from trainer.prepare.video_stages import VIDEO_STAGES

PARITY = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[2] / "parity" / "data")
FRAMES, SIDE = 5, 64


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {variant: write_released_model(root / variant, variant, PARITY) for variant in ("preview", "flash")}


@pytest.fixture(scope="module")
def film(small_portrait, write_video, tmp_path_factory: pytest.TempPathFactory) -> tuple[Row, Workshop]:
    """A clip of five frames that has been through the stages, its face found in the first frame alone."""
    folder = tmp_path_factory.mktemp("film")
    rolled = [np.roll(small_portrait, 2 * shift, axis=1) for shift in range(25)]
    write_video(folder / "videos" / "a.mp4", rolled, audio=voice_like(1.0))
    workshop = Workshop(folder / "videos", folder / "work", PrepareSettings())
    row = work_on(row_of("a.mp4"), VIDEO_STAGES, workshop) | {"start_frame": 1, "frames": FRAMES}
    points = find_face(small_portrait)[0].landmarks_px
    landmarks_px = np.stack([points + np.array([2 * shift, 0, 0]) for shift in range(1, 1 + FRAMES)]).astype(np.float32)
    lip = np.tile(np.array([[0.3, 0.5, 0.7, 0.8]], np.float32), (FRAMES, 1))
    face = np.array([0.3, 0.3, 0.7, 0.7], np.float32)
    np.savez(workshop.folder / "faces.npz", landmarks_px=landmarks_px, lip_boxes=lip, face_box=face)
    return row | {"faces_file": "faces.npz", "caption": "a person speaks happily"}, workshop


def features(film: tuple[Row, Workshop], model: Path, out: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The clip as it comes back out of its shards."""
    row, workshop = film
    workshop = replace(workshop, settings=PrepareSettings(model=str(model), size_px=SIDE))
    variant = find_variant(str(model))
    made = {}
    for group, jobs in zip(groups_of(variant), shard_jobs(variant, [row], out, workshop), strict=True):
        made[group.name] = [make_shard(job, workshop) for job in jobs]
    write_manifest(out, [row], made, {})
    return Shards(out).clip(0)


def pixels(film: tuple[Row, Workshop]) -> torch.Tensor:
    import cv2

    height, width = clip_size(film[0], SIDE)
    frames = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in clip_frames(*film)]
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def near(half: torch.Tensor, whole: torch.Tensor) -> bool:
    return half.shape == whole.shape and torch.allclose(half.float(), whole.float(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_a_released_models_shards_hold_what_its_encoders_say(variant: str, film, released, tmp_path: Path):
    folder = released[variant]
    clip = features(film, folder, tmp_path)
    autoencoder = VideoAutoencoder.load(folder / BASE / AUTOENCODER_FILE)
    video = pixels(film)
    assert near(clip["latents"]["latents"], autoencoder.encode(video)[0])

    grey = torch.zeros_like(video)
    grey[:, :, 0] = video[:, :, 0]
    assert near(clip["i2v"]["masked_latents"], autoencoder.encode(grey)[0])

    grey[:, :, -1] = video[:, :, -1]
    between, ending = clip["i2v"]["masked_latents"][:, :-1], clip["first_last"]["ending"]
    assert near(torch.cat([between, ending], dim=1), autoencoder.encode(grey)[0])

    generate = clip["lip"]["generate"]
    cover = generate.float().repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)
    assert 0 < generate.float().mean() < 1
    assert near(clip["lip"]["masked_latents"], autoencoder.encode(video * (1 - cover))[0])

    words = TextEncoder.load(folder / BASE / TEXT_FILE, folder / BASE / TOKENIZER)
    assert near(clip["text"]["text"], words.tokens_of("a person speaks happily"))
    assert clip["image"]["image"].dim() == 2 and 0 < clip["image"]["face_mask"].mean() < 1

    speech, wave = AudioEncoder.load(folder / SPEECH_ENCODERS[variant]), clip_voice(*film)
    audio = clip["audio"]["audio"]
    if variant == "preview":
        assert near(audio, speech.token_features(wave, FRAMES)[0])
    else:
        assert near(layer_windows(audio), speech.layer_windows(levelled(wave), FRAMES)[0])


def test_nanos_shards_hold_what_nano_says(film, nano_folder: Path, tmp_path: Path):
    clip, model = features(film, nano_folder, tmp_path), NanoModel.load(nano_folder)
    landmarks_px = np.load(film[1].folder / "faces.npz")["landmarks_px"]
    reference = model.autoencoder.reference(np.zeros((SMALL[1], SMALL[0], 3), np.uint8), landmarks_px[0])
    assert clip["face_motion"]["latents"].equal(model.autoencoder.encode(landmarks_px, reference)[0])
    assert clip["face_motion"]["still"].equal(model.autoencoder.encode_reference(reference)[0])
    assert clip["image"]["image"].equal(model.encode_image(reference)[0])
    windows = model.encode_audio(clip_voice(*film), FRAMES)
    assert clip["audio"]["audio"].equal(windows[0, :, 2, 0])
    voice = clip["voice"]["voice"].float() / 32767
    assert torch.allclose(voice, torch.from_numpy(clip_voice(*film)), atol=1e-4)


def test_numbers_too_large_for_half_precision_stay_single():
    assert halved(torch.tensor([1.0, 6e4])).dtype == torch.float16
    assert halved(torch.tensor([1.0, 7e4])).dtype == torch.float32


def test_shards_are_made_anew_only_where_caption_model_or_size_changed(film, nano_folder: Path, tmp_path: Path):
    row, workshop = film
    workshop = replace(workshop, settings=PrepareSettings(model=str(nano_folder)))
    variant = find_variant(str(nano_folder))

    def stamps(row: Row) -> dict[str, str]:
        groups = groups_of(variant)
        return {
            g.name: jobs[0]["stamp"]
            for g, jobs in zip(groups, shard_jobs(variant, [row], tmp_path, workshop), strict=True)
        }

    before = stamps(row)
    assert stamps(row) == before
    assert all(stamps(row | {"caption": "calm"})[name] != stamp for name, stamp in before.items())
