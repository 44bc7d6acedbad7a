import os
import pickle
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from engine.contract.errors import UserError
from engine.wan import checkpoints
from engine.wan.transformer import EchoMimicTransformer3DModel

FOLDER = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[2] / "parity" / "data")
TRANSFORMER = {"num_layers": 2, "image_dim": 32, "audio_dim": 48, "freq_dim": 32}
PREVIEW = TRANSFORMER | {"num_attention_heads": 4, "attention_head_dim": 24, "text_dim": 40, "ffn_dim": 160}
FLASH = TRANSFORMER | {
    "num_attention_heads": 2,
    "attention_head_dim": 36,
    "text_dim": 32,
    "ffn_dim": 100,
    "audio_projection": "flash",
    "audio_layers": 2,
    "audio_intermediate_dim": 24,
    "audio_context_tokens": 4,
}
UMT5 = UMT5Config(vocab_size=120, d_model=32, d_kv=12, d_ff=64, num_layers=3, num_heads=4)
CLIP = CLIPVisionConfig(
    hidden_size=64, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4, image_size=28, patch_size=14
)
FILES = {
    "preview": (checkpoints.PREVIEW, lambda _: EchoMimicTransformer3DModel(**PREVIEW)),
    "flash": (checkpoints.FLASH, lambda _: EchoMimicTransformer3DModel(**FLASH)),
    "t5": (checkpoints.TEXT_ENCODER, lambda _: UMT5EncoderModel(UMT5)),
    "clip": (checkpoints.IMAGE_ENCODER, lambda _: CLIPVisionModel(CLIP)),
    "vae": (checkpoints.AUTOENCODER, lambda _: AutoencoderKLWan(base_dim=4)),
}
every_file = pytest.mark.parametrize("name", FILES)


def path_of(name):
    return FOLDER / f"{name}_weights.safetensors"


def load(name, path):
    layout, build = FILES[name]
    return checkpoints.load(build, layout, path)


def refusal(name, path):
    with pytest.raises(UserError) as refused:
        load(name, path)
    assert refused.value.field == "model"
    assert "\n" not in refused.value.message
    return refused.value.message


@every_file
def test_every_value_of_the_file_is_in_the_model(name):
    model = load(name, path_of(name))
    state = load_file(path_of(name))
    unused = [key for key in state if ".q_audio." in key or key == "visual.head"]
    in_file = sum(tensor.double().sum() for key, tensor in state.items() if key not in unused)
    in_model = sum(parameter.double().sum() for parameter in model.parameters())
    torch.testing.assert_close(in_model, in_file)
    assert not model.training


@every_file
@pytest.mark.parametrize("other", FILES)
def test_a_file_of_another_kind_is_refused_by_what_it_looks_like(name, other):
    if name == other:
        return
    assert f"it looks like {FILES[other][0].title}" in refusal(name, path_of(other))


@every_file
def test_a_missing_tensor_is_refused(name, tmp_path):
    state = load_file(path_of(name))
    dropped = [key for key in state if key != "visual.head"][len(state) // 2]
    save_file({key: tensor for key, tensor in state.items() if key != dropped}, tmp_path / "less.safetensors")
    assert "is missing" in refusal(name, tmp_path / "less.safetensors")


def test_flash_audio_queries_are_not_used_but_may_not_be_missing(tmp_path):
    state = load_file(path_of("flash"))
    del state["blocks.1.cross_attn.q_audio.bias"]
    save_file(state, tmp_path / "less.safetensors")
    assert "to_q_audio.bias is missing" in refusal("flash", tmp_path / "less.safetensors")


@every_file
def test_a_left_over_tensor_is_refused(name, tmp_path):
    save_file(load_file(path_of(name)) | {"surplus.weight": torch.ones(3)}, tmp_path / "more.safetensors")
    assert "surplus.weight is not expected" in refusal(name, tmp_path / "more.safetensors")


@every_file
def test_a_tensor_of_another_shape_is_refused(name, tmp_path):
    state = load_file(path_of(name))
    key = next(key for key, tensor in state.items() if tensor.ndim > 1 and key != "visual.head")
    *others, last = state[key].shape
    save_file(state | {key: torch.ones(*others, last + 1)}, tmp_path / "other.safetensors")
    assert f"{last + 1}] instead of [" in refusal(name, tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("key", "looks"),
    [
        ("img_emb.proj.0.bias", "a plain Wan image-to-video transformer, without audio"),
        ("text_embedding.0.bias", "a plain Wan text-to-video transformer, without audio"),
        ("audio_projector.norm.bias", "a transformer saved by this program"),
        ("wav2vec2.masked_spec_embed", "a wav2vec2 speech encoder"),
        ("model.layers.0.weight", "nothing we know"),
    ],
)
def test_files_for_other_programs_are_named(key, looks, tmp_path):
    save_file({key: torch.ones(2)}, tmp_path / "other.safetensors")
    assert f"it looks like {looks}" in refusal("preview", tmp_path / "other.safetensors")


@every_file
def test_a_torch_file_loads_as_the_same_model(name, tmp_path):
    torch.save(load_file(path_of(name)), tmp_path / "weights.pth")
    for ours, theirs in zip(
        load(name, tmp_path / "weights.pth").parameters(), load(name, path_of(name)).parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_the_text_tower_beside_the_image_tower_is_ignored(tmp_path):
    state = load_file(path_of("clip")) | {"textual.norm.weight": torch.ones(4), "log_scale": torch.ones(1)}
    torch.save(state, tmp_path / "clip.pth")
    load("clip", tmp_path / "clip.pth")


def test_a_torch_file_of_the_old_format_loads_too(tmp_path):
    torch.save(load_file(path_of("t5")), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    load("t5", tmp_path / "old.pth")


class Bomb:
    def __reduce__(self):
        return Path.write_text, (Path(os.environ["BOMB"]), "exploded")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_that_would_run_code_is_refused_and_does_not_run_it(zipped, tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "crater"))
    if zipped:
        torch.save({"visual.head": torch.ones(1), "bomb": Bomb()}, tmp_path / "bomb.pth")
    else:
        (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"bomb": Bomb()}, protocol=2))
    assert "cannot be read as plain tensors" in refusal("clip", tmp_path / "bomb.pth")
    assert not (tmp_path / "crater").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_a_file_cut_short_is_refused(suffix, share, tmp_path):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    state = load_file(path_of("t5"))
    (save_file if suffix == ".safetensors" else torch.save)(state, whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    assert "cut short" in refusal("t5", cut)


def test_a_torch_file_that_holds_more_than_tensors_is_refused(tmp_path):
    torch.save({"state_dict": {"visual.head": torch.ones(1)}}, tmp_path / "nested.pth")
    assert "more than named tensors" in refusal("clip", tmp_path / "nested.pth")


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert str(tmp_path / "none.safetensors") in refusal("preview", tmp_path / "none.safetensors")


def test_the_asked_precision_is_loaded_but_norms_and_time_stay_exact():
    model = checkpoints.load_transformer(path_of("preview"), "preview", dtype=torch.bfloat16, heads=4, audio_dim=48)
    assert model.blocks[0].attn2.to_k_audio.weight.dtype == torch.bfloat16
    for exact in (model.condition_embedder.time_embedder.linear_1, model.blocks[0].norm2, model.rope):
        assert {tensor.dtype for tensor in (*exact.parameters(), *exact.buffers())} == {torch.float32}
    velocity = model(
        torch.randn(1, 36, 2, 4, 4).bfloat16(),
        torch.tensor([500.0]),
        torch.randn(1, 3, 40).bfloat16(),
        torch.randn(1, 3, 32).bfloat16(),
        encoder_hidden_states_audio=torch.randn(1, 10, 48).bfloat16(),
    ).sample
    assert velocity.dtype == torch.bfloat16


@pytest.mark.parametrize("content", [b"text", b"e", b"(dp0", b"\x80\x04.", b"PK\x03\x04", b""])
@pytest.mark.parametrize("suffix", [".bin", ".pth", ".pt", ".safetensors"])
def test_a_file_that_holds_no_weights_is_one_line_whatever_is_in_it(content: bytes, suffix: str, tmp_path: Path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read as plain tensors|more than named tensors"):
        checkpoints.read_tensors(path)
