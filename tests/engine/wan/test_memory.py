"""The memory plan against tensors that are really there, and modes that move weights but not what comes out."""

import json
import math
import os
import weakref
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.quantizers.gguf.utils import GGUFLinear
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from transformers import UMT5Config, UMT5EncoderModel

from engine.contract.errors import UserError
from engine.contract.variants import TRANSFORMER_WEIGHTS
from engine.wan.checkpoints import load_transformer
from engine.wan.devices import DTYPES
from engine.wan.encoders import ImageEncoder, VideoAutoencoder
from engine.wan.layout import AUTOENCODER_FILE, BASE, IMAGE_FILE
from engine.wan.memory import (
    MODES,
    QUANTISED_GROUP,
    QUANTISED_GROUP_BYTES,
    Geometry,
    activation_bytes,
    choose_mode,
    decoding_bytes,
    describe,
    estimate,
    is_out_of_memory,
    layer_by_layer,
    place,
    read_geometry,
)
from engine.wan.transformer import EchoMimicTransformer3DModel
from tests.released_layout import write_released_model

PARITY = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[2] / "parity" / "data")
RELEASED = Geometry(
    transformer_weights=1_780_000_000,
    text_weights=5_680_000_000,
    image_weights=632_000_000,
    speech_weights=95_000_000,
    autoencoder_weights=127_000_000,
    width=1536,
    hidden_width=8960,
    layers=30,
    autoencoder_width=96,
)
CLIP = {"tokens": 29 * 48 * 48, "rows": 1, "pixels": 768 * 768}


class PeakBytes(TorchDispatchMode):
    """The most bytes of tensors that were made inside and lived at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._known:
                storage = tensor.untyped_storage()
                self._known.add(storage._cdata)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return result

    def _gone(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.live -= size


def test_the_released_models_weights_are_as_many_as_the_plan_says():
    manifest = json.loads((PARITY / "release_manifest.json").read_text())
    for name in ("transformer_preview", "transformer_flash"):
        counted = sum(math.prod(shape) for shape in manifest[name].values())
        assert counted == pytest.approx(RELEASED.transformer_weights, rel=0.1)
    for name, planned in (
        ("text_encoder_umt5_xxl", RELEASED.text_weights),
        ("clip_visual", RELEASED.image_weights),
        ("vae", RELEASED.autoencoder_weights),
    ):
        assert sum(math.prod(shape) for shape in manifest[name].values()) == pytest.approx(planned, rel=0.02)


@pytest.mark.parametrize(
    ("frames", "side", "dtype"), [(29, 96, "fp32"), (29, 96, "bf16"), (21, 64, "bf16"), (3, 32, "fp32")]
)
def test_activations_at_the_real_size_are_what_is_allocated(frames: int, side: int, dtype: str):
    """Latents of 768x768 pixels and smaller through layers of the real width, on the meta device."""
    with torch.inference_mode(), torch.device("meta"):
        model = EchoMimicTransformer3DModel(num_layers=3).eval()
        kind = DTYPES[dtype]
        for name, parameter in model.named_parameters():
            if not any(exact in name.split(".") for exact in model._keep_in_fp32_modules):
                parameter.data = parameter.data.to(kind)
        inputs = {
            "hidden_states": torch.zeros(1, 36, frames, side, side, dtype=kind),
            "timestep": torch.ones(1),
            "encoder_hidden_states": torch.zeros(1, 512, 4096, dtype=kind),
            "encoder_hidden_states_image": torch.zeros(1, 257, 1280, dtype=kind),
            "encoder_hidden_states_audio": torch.zeros(1, 2 * (4 * (frames - 1) + 1), 768, dtype=kind),
        }
        with PeakBytes() as peak:
            model(**inputs)
    planned = activation_bytes(RELEASED, frames * (side // 2) ** 2, 1, kind.itemsize)
    print(f"{frames} frames of {side}, {dtype}: planned {planned / 1e9:.2f} GB, allocated {peak.peak / 1e9:.2f} GB")
    assert planned == pytest.approx(peak.peak, rel=0.12)


@pytest.mark.parametrize("side", [32, 96])
def test_the_autoencoder_of_the_real_size_holds_what_is_planned(side: int):
    with torch.device("meta"):
        autoencoder = VideoAutoencoder(AutoencoderKLWan(base_dim=96).eval())
        latents, frames = torch.zeros(1, 16, 4, side, side), torch.zeros(1, 3, 13, 8 * side, 8 * side)
    planned = decoding_bytes(RELEASED, (8 * side) ** 2)
    for run, given, share in ((autoencoder.stream_decode, latents, 1.0), (autoencoder.encode, frames, 0.75)):
        with torch.device("meta"), PeakBytes() as peak:
            for _ in run(given):
                pass
        print(f"{side} latents, {run.__name__}: planned {planned / 1e9:.2f} GB, allocated {peak.peak / 1e9:.2f} GB")
        assert planned * share == pytest.approx(peak.peak, rel=0.1)


def test_the_weights_that_are_loaded_are_those_that_are_planned(tmp_path: Path):
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)
    geometry = read_geometry(folder)
    transformer = load_transformer(folder / TRANSFORMER_WEIGHTS, "preview", heads=4, audio_dim=48)
    held = sum(parameter.numel() for parameter in transformer.parameters())
    assert geometry.transformer_weights == held
    autoencoder = VideoAutoencoder.load(folder / BASE / AUTOENCODER_FILE).model
    assert geometry.autoencoder_weights == sum(parameter.numel() for parameter in autoencoder.parameters())
    image = ImageEncoder.load(folder / BASE / IMAGE_FILE).model
    # The file holds a head that is not used.
    assert geometry.image_weights == pytest.approx(sum(weight.numel() for weight in image.parameters()), rel=0.1)
    text = load_file(PARITY / "t5_weights.safetensors")
    # The tiny file is in float32, the released one in half precision.
    assert 2 * sum(tensor.numel() for tensor in text.values()) == pytest.approx(geometry.text_weights, rel=0.2)


def test_smaller_modes_need_less_and_the_first_that_fits_is_chosen():
    estimates = {mode: estimate(RELEASED, mode, **CLIP) for mode in MODES}
    peaks = [estimates[mode].peak_bytes for mode in MODES]
    print({mode: round(needed.peak_bytes / 1e9, 1) for mode, needed in estimates.items()})
    assert peaks == sorted(peaks, reverse=True)
    assert choose_mode(estimates, 80e9) == "full"
    assert choose_mode(estimates, 18e9) == "balanced"
    assert choose_mode(estimates, 8e9) == "quantised"
    assert choose_mode(estimates, 6e9) == "low"
    with pytest.raises(UserError, match=r"smaller sampling\.size_px") as caught:
        choose_mode(estimates, 0.5e9)
    assert caught.value.field == "runtime.memory"
    said = describe("low", estimates["low"], 12e9, 113, (768, 768))
    assert "of 12.0 GB; 113 frames at 768×768" in said


def test_a_cpu_has_nowhere_to_offload_to():
    estimates = {mode: estimate(RELEASED, mode, **CLIP, weight_bytes=4, on_cpu=True) for mode in MODES}
    assert estimates["balanced"] == estimates["full"]
    assert estimates["quantised"].sample_bytes < estimates["full"].sample_bytes
    weights = RELEASED.transformer_weights + RELEASED.text_weights + RELEASED.image_weights
    assert estimates["low"].encode_bytes > 4 * weights


def test_the_plan_reads_the_files_of_the_model(tmp_path: Path):
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)
    geometry = read_geometry(folder)
    assert (geometry.width, geometry.hidden_width, geometry.layers) == (96, 160, 2)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match="download it again"):
        read_geometry(folder)
    (folder / BASE / AUTOENCODER_FILE).unlink()
    with pytest.raises(UserError, match="download it again"):
        read_geometry(folder)


def tiny() -> EchoMimicTransformer3DModel:
    torch.manual_seed(0)
    model = EchoMimicTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=32,
        text_dim=8,
        freq_dim=16,
        ffn_dim=64,
        num_layers=3,
        image_dim=10,
        audio_dim=6,
    ).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


@torch.inference_mode()
def output(model: EchoMimicTransformer3DModel, dtype: torch.dtype = torch.float32, **more) -> Tensor:
    random = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random).to(dtype)

    return model(
        draw(1, 36, 3, 4, 4),
        torch.tensor([500.0]),
        draw(1, 7, 8),
        draw(1, 5, 10),
        encoder_hidden_states_audio=draw(1, 18, 6),
        **more,
    ).sample


@pytest.mark.parametrize("mode", ["full", "balanced", "low"])
def test_where_weights_lie_does_not_change_what_comes_out(mode: str):
    model = tiny()
    before = output(model)
    place(model, mode, torch.device("cpu"), torch.float32)
    assert torch.equal(output(model), before)


def test_quantised_weights_are_a_quarter_and_nearly_say_the_same():
    model = tiny()
    before, bytes_before = output(model), block_bytes(model)
    place(model, "quantised", torch.device("cpu"), torch.float32)
    change = float((output(model) - before).norm() / before.norm())
    print(f"8-bit weights change the output by {change:.4f}")
    assert 0 < change < 0.02
    layers = [module for module in model.blocks.modules() if isinstance(module, GGUFLinear)]
    assert len(layers) == 3 * 14  # 4 of self-attention, 8 of cross-attention, 2 feed-forward
    assert block_bytes(model) / bytes_before == pytest.approx(QUANTISED_GROUP_BYTES / QUANTISED_GROUP / 4, rel=0.05)


def block_bytes(model: EchoMimicTransformer3DModel) -> int:
    return sum(module.weight.nbytes for module in model.blocks.modules() if isinstance(module, nn.Linear))


def test_layerwise_casting_keeps_eight_bits_and_computes_in_more():
    model = tiny().to(torch.bfloat16)
    before = output(model, torch.bfloat16)
    place(model, "low", torch.device("cpu"), torch.bfloat16)
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.float8_e4m3fn
    after = output(model, torch.bfloat16)
    assert after.dtype == torch.bfloat16
    assert float((after - before).norm() / before.norm()) < 0.2


def test_a_text_encoder_whose_layers_come_one_by_one_says_the_same():
    torch.manual_seed(0)
    config = UMT5Config(vocab_size=20, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    model = UMT5EncoderModel(config).eval()
    ids = torch.tensor([[3, 4, 5, 1]])
    with torch.inference_mode():
        before = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        layer_by_layer(model, torch.device("cpu"))
        after = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    assert torch.equal(before, after)


def test_the_cpus_own_complaint_is_out_of_memory_and_a_bug_is_not():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_out_of_memory(caught.value)
