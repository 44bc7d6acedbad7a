"""Two processes that share a forward's tokens compute what one computes alone."""

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing, nn

from engine.contract.settings import CacheSettings, SamplingSettings, Settings
from engine.sampling.denoise import Conditions, denoise
from engine.sampling.phase_negative import NegativeText
from engine.sampling.tasks import image_to_video, reference_slot, to_video_frames
from engine.wan.parallel import share
from engine.wan.transformer import EchoMimicTransformer3DModel

CASES = [
    ("preview", (3, 4, 4), "off"),
    ("flash", (3, 4, 4), "off"),
    ("preview", (3, 4, 6), "off"),  # shares of 9 tokens, frames of 6
    ("preview", (3, 4, 4), "magcache"),
    ("preview", (3, 4, 4), "teacache"),
]


def build(kind: str) -> EchoMimicTransformer3DModel:
    torch.manual_seed(0)
    model = EchoMimicTransformer3DModel(
        num_attention_heads=3,
        attention_head_dim=12,
        text_dim=8,
        freq_dim=32,
        ffn_dim=32,
        num_layers=3,
        image_dim=10,
        audio_projection=kind,
        audio_dim=6,
        audio_layers=2,
        audio_intermediate_dim=8,
        audio_context_tokens=3,
    ).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def clip(model: EchoMimicTransformer3DModel, kind: str, size: tuple[int, int, int], cache: str) -> Tensor:
    """A clip made by the whole loop, with three branches, a face mask and two windows."""
    latent_frames, height, width = size
    random = torch.Generator().manual_seed(1)
    reference = torch.randn(1, 16, 1, height, width, generator=random)
    frames = to_video_frames(latent_frames)
    shape = (2 * frames, 6) if kind == "preview" else (frames, 5, 2, 6)
    conditions = Conditions(
        reference=reference,
        known=image_to_video(reference, frames),
        slot=reference_slot(reference),
        text=torch.randn(1, 9, 8, generator=random),
        negative=NegativeText(*(torch.randn(n, 8, generator=random) for n in (2, 3, 3)), 9),
        image=torch.randn(1, 4, 10, generator=random),
        audio=torch.randn(1, *shape, generator=random),
        face_mask=(torch.arange(height * width // 4) % 3 > 0).float()[None],
    )
    settings = Settings(sampling=SamplingSettings(steps=8), cache=CacheSettings(kind=cache, threshold=0.1))
    settings = settings.model_copy(update={"guidance": settings.guidance.model_copy(update={"text": 3.0})})
    return denoise(model, conditions, settings, window_latent_frames=8, seed=0, watch=lambda done, clean: None)


def work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    made = []
    for kind, size, cache in CASES:
        model = build(kind)
        share(model, torch.device("cpu"))
        tokens: list[int] = []
        model.blocks[1].ffn.register_forward_hook(lambda _, inputs, __, seen=tokens: seen.append(inputs[0].shape[1]))
        made.append((clip(model, kind, size, cache), tokens[0]))
    torch.save(made, Path(folder) / f"{rank}.pt")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[Tensor, int]]]:
    folder = tmp_path_factory.mktemp("shared")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(work, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[" ".join(map(str, case)) for case in CASES])
def test_two_processes_make_the_clip_that_one_makes(shared: list[list[tuple[Tensor, int]]], case: int):
    kind, (latent_frames, height, width), cache = CASES[case]
    alone = clip(build(kind), kind, (latent_frames, height, width), cache)
    (first, first_tokens), (second, second_tokens) = (made[case] for made in shared)
    torch.testing.assert_close(first, alone, atol=1e-4, rtol=1e-4)
    assert torch.equal(first, second)
    assert first_tokens + second_tokens == latent_frames * height * width // 4
    assert first_tokens == second_tokens
