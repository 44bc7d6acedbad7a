"""The memory plan against tensors that are really there, and modes that move weights but not what comes out."""

import json
import math
import os
import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from engine.errors import UserError
from engine.model.memory import (
    MODES,
    Geometry,
    activation_bytes,
    choose_mode,
    describe,
    estimate,
    place,
    read_geometry,
)
from engine.model.transformer import EchoMimicTransformer3DModel
from tests.released_layout import write_released_model

PARITY = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[2] / "parity" / "data")
RELEASED = Geometry(1_780_000_000, 5_680_000_000, 853_000_000, 1536, 8960, 30, 96)
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


def test_the_released_transformers_weights_are_as_many_as_the_plan_says():
    manifest = json.loads((PARITY / "release_manifest.json").read_text())
    for name in ("transformer_preview", "transformer_flash"):
        counted = sum(math.prod(shape) for shape in manifest[name].values())
        assert counted == pytest.approx(RELEASED.transformer_weights, rel=0.1)
    text = sum(math.prod(shape) for shape in manifest["text_encoder_umt5_xxl"].values())
    assert text == pytest.approx(RELEASED.text_weights, rel=0.02)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_activations_at_the_real_width_are_what_is_allocated(layers: int):
    torch.manual_seed(0)
    with torch.inference_mode():
        model = EchoMimicTransformer3DModel(num_layers=layers, text_dim=64, image_dim=64, audio_dim=32).eval()
        frames, side = 3, 32
        inputs = {
            "hidden_states": torch.zeros(1, 36, frames, side, side),
            "timestep": torch.ones(1),
            "encoder_hidden_states": torch.zeros(1, 8, 64),
            "encoder_hidden_states_image": torch.zeros(1, 8, 64),
            "encoder_hidden_states_audio": torch.zeros(1, 18, 32),
        }
        with PeakBytes() as peak:
            model(**inputs)
    tokens = frames * (side // 2) ** 2
    planned = activation_bytes(RELEASED, tokens, 1, 4)
    print(f"{layers} layers: planned {planned / 1e6:.0f} MB, allocated {peak.peak / 1e6:.0f} MB")
    assert planned == pytest.approx(peak.peak, rel=0.15)


def test_smaller_modes_need_less_and_the_first_that_fits_is_chosen():
    estimates = {mode: estimate(RELEASED, mode, **CLIP) for mode in MODES}
    peaks = [estimates[mode].peak_bytes for mode in ("full", "balanced", "low")]
    assert peaks == sorted(peaks, reverse=True)
    assert choose_mode(estimates, 80e9) == "full"
    assert choose_mode(estimates, 15e9) == "balanced"
    assert choose_mode(estimates, 12e9) == "low"
    with pytest.raises(UserError, match=r"smaller sampling\.size_px") as caught:
        choose_mode(estimates, 0.5e9)
    assert caught.value.field == "runtime.memory"
    said = describe("low", estimates["low"], 12e9, 113, (768, 768))
    assert "of 12.0 GB; 113 frames at 768×768" in said


def test_the_plan_reads_the_files_of_the_model(tmp_path: Path):
    folder = write_released_model(tmp_path / "preview", "preview", PARITY)
    geometry = read_geometry(folder)
    assert (geometry.width, geometry.hidden_width, geometry.layers) == (96, 160, 2)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
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
def output(model: EchoMimicTransformer3DModel) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return model(
        torch.randn(1, 36, 3, 4, 4, generator=random),
        torch.tensor([500.0]),
        torch.randn(1, 7, 8, generator=random),
        torch.randn(1, 5, 10, generator=random),
        encoder_hidden_states_audio=torch.randn(1, 18, 6, generator=random),
    ).sample


@pytest.mark.parametrize("mode", ["full", "balanced", "low"])
def test_where_weights_lie_does_not_change_what_comes_out(mode: str):
    model = tiny()
    before = output(model)
    place(model, mode, torch.device("cpu"), torch.float32)
    assert torch.equal(output(model), before)


def test_quantised_weights_are_a_quarter_and_nearly_say_the_same():
    from optimum.quanto import QTensor

    model = tiny()
    before = output(model)
    place(model, "quantised", torch.device("cpu"), torch.float32)
    assert float((output(model) - before).norm() / before.norm()) < 0.05
    weights = [parameter for parameter in model.blocks.parameters() if isinstance(parameter, QTensor)]
    assert len(weights) >= 3 * 10
    assert all(weight._data.dtype == torch.int8 for weight in weights)


def test_layerwise_casting_keeps_eight_bits_and_computes_in_more():
    model = tiny()
    before = output(model)
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.float8_e4m3fn
    assert float((output(model) - before).norm() / before.norm()) < 0.2
