"""From a folder in the released layout to a video that plays: both variants, all five tasks, on tiny weights."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.__main__ import main
from engine.contract.errors import UserError
from engine.contract.records import GenerationRecord, read_record
from engine.contract.variants import TASKS, TRANSFORMER_WEIGHTS
from engine.media.inputs import file_sha256
from engine.media.picture import even_size, read_picture
from engine.media.video import VideoWriter, probe, read_video_frames
from engine.wan.animator import GREY_SETTLES, PixelAnimator, levelled
from engine.wan.layout import AUTOENCODER_FILE, BASE, IMAGE_FILE, TEXT_FILE
from tests.conftest import voice_like
from tests.released_layout import write_released_model

PARITY = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[1] / "parity" / "data")
VARIANTS = ("preview", "flash")
FILM_FPS, FILM_FRAMES = 30, 36
WIDTH = 96
"""Of the tiny transformer."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {variant: write_released_model(root / variant, variant, PARITY) for variant in VARIANTS}


@pytest.fixture(scope="module")
def film(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    picture = even_size(read_picture(portrait))
    height, width = picture.shape[:2]
    with VideoWriter(path, (width, height), FILM_FPS) as writer:
        for index in range(FILM_FRAMES):
            writer.write(np.roll(picture, index // 6, axis=1))
    return path


@pytest.fixture
def media(portrait: Path, film: Path) -> dict[str, list[str]]:
    return {
        "talking-head": ["--image", str(portrait)],
        "half-body": ["--image", str(portrait)],
        "lip-sync": ["--video", str(film)],
        "first-last-frame": ["--image", str(portrait), "--last-image", str(portrait)],
        "text-to-video": ["--prompt", "a person speaks"],
    }


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_folder_becomes_a_video(variant: str, task: str, folders, media, voice, tmp_path, capsys):  # noqa: PLR0917 (fixtures)
    out = tmp_path / "out.mp4"
    flags = ["--sampling.size_px", "128", "--steps", "2", "--audio", str(voice), "--out", str(out)]
    arguments = ["generate", "--model", str(folders[variant]), "--task", task, *media[task], *flags]
    files = sorted(folders[variant].rglob("*"))
    assert main(arguments) == 0, capsys.readouterr().err
    assert sorted(folders[variant].rglob("*")) == files, "a model is used as it lies"
    made = probe(out)
    assert made.audio_sample_rate_hz == 48_000
    expected_s = max(1.3, FILM_FRAMES / FILM_FPS)
    assert made.duration_s == pytest.approx(expected_s, abs=0.05)
    assert made.fps == pytest.approx(FILM_FPS if task == "lip-sync" else 25, abs=0.2)
    record = read_record(out)
    assert record.request.task == task and record.num_frames == made.num_frames
    assert sum(1 for _ in read_video_frames(out)) == made.num_frames


def test_a_lora_is_told_by_the_record_and_by_what_the_clip_is_resumed_with(folders, portrait, voice, tmp_path, capsys):
    def made(name: str, *lora: str) -> GenerationRecord:
        out = tmp_path / f"{name}.mp4"
        given = ["--model", str(folders["preview"]), "--image", str(portrait), "--audio", str(voice), "--out", str(out)]
        flags = ["--sampling.size_px", "128", "--steps", "1"]
        assert main(["generate", *given, *flags, *lora]) == 0, capsys.readouterr().err
        return read_record(out)

    lora = tmp_path / "a.safetensors"
    records = [made("plain")]
    for value in (0.1, 0.2):
        save_file(
            {
                "blocks.0.attn1.to_q.lora_A.weight": torch.full((2, WIDTH), value),
                "blocks.0.attn1.to_q.lora_B.weight": torch.full((WIDTH, 2), value),
            },
            lora,
        )
        records.append(made(f"lora{value}", "--lora", str(lora)))
        assert records[-1].inputs_sha256["lora"] == file_sha256(lora)
    assert len({record.checkpoint_sha256 for record in records}) == 1
    assert len({record.maker_sha256 for record in records}) == 3
    assert records[0].maker_sha256 == records[0].checkpoint_sha256

    missing = ["--model", str(folders["preview"]), "--image", str(portrait), "--audio", str(voice)]
    assert (
        main(["generate", *missing, "--lora", str(tmp_path / "gone.safetensors"), "--out", str(tmp_path / "o.mp4")])
        == 2
    )
    assert "gone.safetensors does not exist" in capsys.readouterr().err


@pytest.fixture(scope="module")
def animator(folders) -> PixelAnimator:
    return PixelAnimator(folders["preview"], "preview", torch.float32, torch.device("cpu"))


def test_only_the_latents_that_are_used_go_through_the_encoder(animator, portrait, voice, tmp_path):
    from dataclasses import replace

    from engine.contract.request import build_request
    from engine.media.inputs import read_inputs

    request = build_request(
        {"model": "preview", "image": portrait, "audio": voice, "out": tmp_path / "o.mp4"}, {"sampling.size_px": 128}
    )
    inputs = read_inputs(request)
    encoded = []
    hook = animator.autoencoder.model.encoder.register_forward_hook(lambda *_: encoded.append(1))
    counts = []
    for frames in (101, 161):
        encoded.clear()
        longer = replace(inputs, num_frames=frames, wave=voice_like(frames / 25))
        known = animator.encode(longer, request).known
        assert known.shape[2] == 1 + (frames - 1) // 4
        counts.append(len(encoded))
    hook.remove()
    assert counts == [26, 1 + GREY_SETTLES]
    assert max(counts) <= 30


def test_later_windows_have_the_picture_in_front_known(animator, portrait, voice, tmp_path):
    from engine.contract.request import build_request
    from engine.media.inputs import read_inputs

    asked = {"model": "preview", "image": portrait, "audio": voice, "out": tmp_path / "o.mp4"}
    request = build_request(asked, {"sampling.size_px": 128})
    clip = animator.encode(read_inputs(request), request)
    assert bool((clip.slot[:, :4] == 1).all())
    torch.testing.assert_close(clip.slot[:, 4:], clip.reference)


def test_the_grey_tail_is_what_encoding_all_of_it_would_give(animator, portrait):
    from engine.wan.animator import _pixels

    first = _pixels(read_picture(portrait), (64, 64))
    whole = animator.autoencoder.encode(torch.cat([first, torch.zeros(1, 3, 4 * 40, 64, 64)], dim=2))
    torch.testing.assert_close(whole[:, :, 29:], whole[:, :, 28:29].expand(-1, -1, 12, -1, -1), atol=1e-4, rtol=0)


def test_flash_speech_is_levelled_and_silence_is_not():
    import pyloudnorm

    wave = 0.02 * voice_like(3.0)
    assert pyloudnorm.Meter(16_000).integrated_loudness(levelled(wave)) == pytest.approx(-23, abs=0.1)
    silence = np.zeros(16_000, np.float32)
    assert np.array_equal(levelled(silence), silence)
    short = voice_like(0.2)
    assert np.array_equal(levelled(short), short)


def broken(folders, tmp_path: Path, variant: str = "preview") -> Path:
    return Path(shutil.copytree(folders[variant], tmp_path / variant))


def refusal(folder: Path, variant: str = "preview") -> str:
    with pytest.raises(UserError) as caught:
        PixelAnimator(folder, variant, torch.float32, torch.device("cpu"))
    assert caught.value.field == "model" and "\n" not in caught.value.message
    return caught.value.message


def test_a_file_that_is_missing_or_half_there_is_named(folders, tmp_path):
    folder = broken(folders, tmp_path)
    weights = folder / BASE / AUTOENCODER_FILE
    weights.write_bytes(weights.read_bytes()[:5000])
    assert AUTOENCODER_FILE in refusal(folder)
    weights.unlink()
    assert AUTOENCODER_FILE in refusal(folder)


def test_a_tensor_that_is_missing_is_named(folders, tmp_path):
    folder = broken(folders, tmp_path)
    state = load_file(folder / TRANSFORMER_WEIGHTS)
    del state["blocks.1.cross_attn.k_img.weight"]
    save_file(state, folder / TRANSFORMER_WEIGHTS)
    assert "missing" in refusal(folder)


def test_the_wrong_variants_transformer_is_refused_by_what_it_looks_like(folders, tmp_path):
    folder = broken(folders, tmp_path)
    shutil.copy(folders["flash"] / TRANSFORMER_WEIGHTS, folder / TRANSFORMER_WEIGHTS)
    assert "looks like the EchoMimicV3 flash transformer" in refusal(folder)


class Bomb:
    def __reduce__(self):
        return Path.write_text, (Path(os.environ["BOMB"]), "exploded")


@pytest.mark.parametrize(
    "file",
    [
        f"{BASE}/{AUTOENCODER_FILE}",
        f"{BASE}/{IMAGE_FILE}",
        f"{BASE}/{TEXT_FILE}",
        "chinese-wav2vec2-base/pytorch_model.bin",
    ],
)
def test_a_pickle_with_code_in_it_is_one_line_and_does_not_run(file, folders, voice, tmp_path, monkeypatch, capsys):  # noqa: PLR0917 (fixtures)
    monkeypatch.setenv("BOMB", str(tmp_path / "crater"))
    folder = broken(folders, tmp_path, "flash")
    (folder / "chinese-wav2vec2-base" / "model.safetensors").unlink()
    speech = load_file(folders["flash"] / "chinese-wav2vec2-base" / "model.safetensors")
    torch.save(speech, folder / "chinese-wav2vec2-base" / "pytorch_model.bin")
    torch.save({"weight": Bomb()}, folder / file)
    media = ["--task", "text-to-video", "--prompt", "a person", "--audio", str(voice), "--out", str(tmp_path / "o.mp4")]
    flags = ["--sampling.size_px", "128", "--steps", "1"]
    assert main(["generate", "--model", str(folder), *media, *flags]) == 2
    said = [line for line in capsys.readouterr().err.strip().splitlines() if not line.startswith("Note: Memory mode")]
    assert len(said) == 1 and "download it again" in said[0] and "Traceback" not in said[0]
    assert not (tmp_path / "crater").exists() and not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_speech_encoder_that_is_half_downloaded_is_named(share, folders, tmp_path):
    folder = broken(folders, tmp_path)
    weights = folder / "wav2vec2-base-960h" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    assert "speech encoder" in refusal(folder) and "download it again" in refusal(folder)
    (folder / "wav2vec2-base-960h" / "config.json").write_text("{")
    assert "speech encoder" in refusal(folder)


def test_a_folder_without_its_transformer_is_not_installed(folders, voice, tmp_path, capsys):
    folder = broken(folders, tmp_path)
    (folder / TRANSFORMER_WEIGHTS).unlink()
    media = ["--task", "text-to-video", "--prompt", "a person", "--audio", str(voice), "--out", str(tmp_path / "o.mp4")]
    assert main(["generate", "--model", str(folder), *media]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "is not installed" in line and "models download preview" in line


def test_a_lora_changes_the_video_and_the_next_job_is_without_it(folders, voice, tmp_path):
    from engine.contract.request import build_request
    from engine.session import Session

    random = torch.Generator().manual_seed(0)
    name = "blocks.0.attn1.to_v"
    down, up = torch.randn(2, 96, generator=random), torch.randn(96, 2, generator=random)
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "lora.safetensors")
    session, videos = Session(), []
    for lora in (None, tmp_path / "lora.safetensors", None):
        values = {
            "task": "text-to-video",
            "prompt": "a person",
            "seed": 0,
            "audio": voice,
            "model": str(folders["preview"]),
        }
        values |= {"out": tmp_path / "o.mp4"} | ({"lora": lora} if lora else {})
        session.generate(build_request(values, {"sampling.size_px": 128, "sampling.steps": 1}))
        videos.append(np.stack(list(read_video_frames(tmp_path / "o.mp4"))))
    assert np.array_equal(videos[0], videos[2])
    assert not np.array_equal(videos[0], videos[1])


def test_what_flash_does_not_use_is_refused(folders, portrait, voice, tmp_path, capsys):
    flags = ["--image", str(portrait), "--audio", str(voice), "--out", str(tmp_path / "o.mp4")]
    assert main(["generate", "--model", str(folders["flash"]), *flags, "--guidance.text", "4"]) == 2
    assert "does nothing with the model flash" in capsys.readouterr().err
