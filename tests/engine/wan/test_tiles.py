"""Tiles cover every pixel, what does not change comes back as it was, and the memory is that of a tile."""

import os
from pathlib import Path

import pytest
import torch

from engine.wan.encoders import VideoAutoencoder
from engine.wan.tiles import cover, join

PARITY = Path(os.environ.get("ECHOMIMIC_PARITY") or Path(__file__).parents[2] / "parity" / "data")


@pytest.mark.parametrize("height", [1, 7, 8, 9, 31, 64])
@pytest.mark.parametrize("width", [8, 20])
@pytest.mark.parametrize(("side", "overlap"), [(8, 0), (8, 3), (16, 8)])
def test_tiles_that_are_cut_out_and_joined_are_the_frame(height: int, width: int, side: int, overlap: int):
    frame = torch.randn(2, height, width, dtype=torch.float64)
    tiles = cover(height, width, side, overlap)
    assert all(tile.bottom - tile.top <= side and tile.right - tile.left <= side for tile in tiles)
    joined = join(tiles, lambda index: tiles[index].of(frame), overlap)
    torch.testing.assert_close(joined, frame)


def test_a_seam_is_a_ramp_and_not_a_step():
    tiles = cover(1, 24, 16, 8)
    joined = join(tiles, lambda index: torch.full((1, 1, 16), float(index)), 8)[0, 0]
    assert joined[:8].eq(0).all() and joined[16:].eq(1).all()
    assert float(joined.diff().max()) <= 1 / 8 + 1e-6


def test_an_overlap_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        cover(32, 32, 8, 8)


@pytest.fixture(scope="module")
def autoencoder() -> VideoAutoencoder:
    return VideoAutoencoder.load(PARITY / "vae_weights.safetensors")


def smooth_video(frames: int, side: int) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(0, 3, side), torch.linspace(0, 3, side), indexing="ij")
    picture = torch.stack([torch.sin(rows + 2 * columns), torch.cos(rows), torch.sin(columns)])
    return 0.8 * picture[None, :, None].expand(1, -1, frames, -1, -1) * torch.linspace(1, 0.8, frames)[:, None, None]


def test_one_tile_is_the_whole_frame_bit_for_bit(autoencoder: VideoAutoencoder):
    video = smooth_video(9, 64)
    tiled = VideoAutoencoder(autoencoder.model, tile_px=64, overlap_px=16)
    latents = autoencoder.encode(video)
    assert torch.equal(tiled.encode(video), latents)
    assert torch.equal(tiled.decode(latents), autoencoder.decode(latents))


def test_every_tile_remembers_its_own_past_and_no_other(autoencoder: VideoAutoencoder):
    video = smooth_video(9, 96)
    tiled = VideoAutoencoder(autoencoder.model, tile_px=64, overlap_px=32)
    tiles = cover(96, 96, 64, 32)
    assert len(tiles) == 4
    small = [tile.times(1 / 8) for tile in tiles]
    latents = join(small, lambda index: autoencoder.encode(tiles[index].of(video)), 4)
    torch.testing.assert_close(tiled.encode(video), latents)
    frames = join(tiles, lambda index: autoencoder.decode(small[index].of(latents)), 32)
    torch.testing.assert_close(tiled.decode(latents), frames)
    # The weights are random and each tile's own attention sees its tile alone: near is all that can be asked.
    assert 0 < float((latents - autoencoder.encode(video)).norm() / latents.norm()) < 0.3
