"""Masks say what is known, folded in time as the latents are."""

import pytest
import torch

from engine.sampling.tasks import (
    image_to_video,
    mask_channels,
    next_valid_length,
    reference_slot,
    to_latent_frames,
    to_video_frames,
)


@pytest.mark.parametrize("num_frames", range(1, 40))
def test_the_next_valid_length_is_4n_plus_1_and_less_than_4_away(num_frames: int):
    length = next_valid_length(num_frames)
    assert 0 <= length - num_frames < 4
    assert to_video_frames(to_latent_frames(length)) == length


@pytest.mark.parametrize("num_frames", [0, 2, 3, 4, 6])
def test_other_lengths_are_refused_with_the_nearest_good_one(num_frames: int):
    with pytest.raises(ValueError, match="4n \\+ 1"):
        to_latent_frames(num_frames)


def test_frame_0_fills_the_first_latent_and_every_four_frames_the_next():
    known = torch.zeros(1, 9, 2, 2)
    known[:, 0] = 1  # the picture
    known[:, 8] = 1  # the last frame, as first-last-frame has it
    known[:, 3, 1, 0] = 1  # one place in one frame, as a lip mask has it
    mask = mask_channels(known)
    assert mask.shape == (1, 4, 3, 2, 2)
    assert mask[0, :, 0, 0, 0].tolist() == [1, 1, 1, 1]
    assert mask[0, :, 1, 0, 0].tolist() == [0, 0, 0, 0]
    assert mask[0, :, 1, 1, 0].tolist() == [0, 0, 1, 0]
    assert mask[0, :, 2, 0, 0].tolist() == [0, 0, 0, 1]


def test_image_to_video_knows_the_picture_and_nothing_else():
    reference = torch.randn(2, 16, 1, 8, 8)
    known = image_to_video(reference, 13)
    assert known.shape == (2, 20, 4, 8, 8)
    assert (known[:, :4, 0] == 1).all()
    assert (known[:, :4, 1:] == 0).all()
    torch.testing.assert_close(known[:, 4:, :1], reference)
    assert (known[:, 4:, 1:] == 0).all()


def test_a_reference_slot_is_a_picture_out_of_time():
    reference = torch.randn(1, 16, 1, 8, 8)
    slot = reference_slot(reference)
    assert slot[0, :4, 0, 0, 0].tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(slot[:, 4:], reference)
