"""Soup-of-Tasks: every task is the same tensor, a mask of what is known and the latents of the known part.

Knows nothing about models or schedulers. The paper's M is 1 where the model must generate; the channels the model
reads are 1 - M, so everything here says *known*: 1 = known. Unknown pixels are mid-grey, 0 in [-1, 1].
Departure: nano has a reference slot in front of every window of a long clip (see `reference_slot`).
"""

import torch
from torch import Tensor

FRAMES_PER_LATENT = 4


def to_latent_frames(num_frames: int) -> int:
    """T of F = 4 (T - 1) + 1 video frames; any other count is an error."""
    if num_frames < 1 or num_frames % FRAMES_PER_LATENT != 1:
        nearest = 1 + FRAMES_PER_LATENT * max(0, round((num_frames - 1) / FRAMES_PER_LATENT))
        raise ValueError(f"num_frames must be 4n + 1; got {num_frames}, try {nearest}")
    return 1 + (num_frames - 1) // FRAMES_PER_LATENT


def to_video_frames(latent_frames: int) -> int:
    """F = 4 (T - 1) + 1 video frames of T latent frames."""
    return 1 + FRAMES_PER_LATENT * (latent_frames - 1)


def next_valid_length(num_frames: int) -> int:
    """The smallest 4n + 1 that holds `num_frames` video frames."""
    return 1 + FRAMES_PER_LATENT * -(-(num_frames - 1) // FRAMES_PER_LATENT)


def mask_channels(known: Tensor) -> Tensor:
    """Fold the known mask of every video frame [B, F, h, w] (1 = known) into latent frames [B, 4, T, h, w].

    Frame 0 stands four times in latent 0; then every four frames become the four channels of one latent frame.
    """
    batch, num_frames, height, width = known.shape
    steps = to_latent_frames(num_frames)
    repeated = torch.cat([known[:, :1].expand(-1, FRAMES_PER_LATENT, -1, -1), known[:, 1:]], dim=1)
    return repeated.reshape(batch, steps, FRAMES_PER_LATENT, height, width).transpose(1, 2)


def image_to_video(reference: Tensor, num_frames: int) -> Tensor:
    """Talking head and half body: frame 0 is the picture, all others are to be generated.

    `reference` is the picture's latent [B, 16, 1, h, w]; returns mask and masked latents [B, 20, T, h, w].
    """
    batch, channels, _, height, width = reference.shape
    known = reference.new_zeros(batch, num_frames, height, width)
    known[:, 0] = 1.0
    grey = reference.new_zeros(batch, channels, to_latent_frames(num_frames) - 1, height, width)
    return torch.cat([mask_channels(known), torch.cat([reference, grey], dim=2)], dim=1)


def first_last_frame(first: Tensor, last: Tensor, num_frames: int, known_at_end: int = 1) -> Tensor:
    """First-last-frame: frame 0 and the `known_at_end` (1 to 4) last frames are known, what lies between is generated.

    `first` and `last` are [B, 16, 1, h, w], `last` the masked latent of the clip's last four frames, in which what is
    not known is grey. Returns mask and masked latents [B, 20, T, h, w]; with one known frame the last latent's mask is
    0001.
    """
    if not 1 <= known_at_end <= FRAMES_PER_LATENT:
        raise ValueError(f"known_at_end must be in [1, {FRAMES_PER_LATENT}]; got {known_at_end}")
    batch, channels, _, height, width = first.shape
    known = first.new_zeros(batch, num_frames, height, width)
    known[:, 0] = 1.0
    known[:, num_frames - known_at_end :] = 1.0
    grey = first.new_zeros(batch, channels, to_latent_frames(num_frames) - 2, height, width)
    return torch.cat([mask_channels(known), torch.cat([first, grey, last], dim=2)], dim=1)


def grey_but_the_end(latent: Tensor, known_at_end: int) -> Tensor:
    """A latent [B, 16, 1, h, w] of four frames side by side in its channels, as nano's are, with all of them grey but
    the last `known_at_end`."""
    frames = latent.unflatten(1, (FRAMES_PER_LATENT, -1)).clone()
    frames[:, : FRAMES_PER_LATENT - known_at_end] = 0.0
    return frames.flatten(1, 2)


def lip_sync(masked_latents: Tensor, generate: Tensor) -> Tensor:
    """Lip-sync: the lower face is generated in every frame, all else is known.

    `masked_latents` [B, 16, T, h, w] are those of the film with the lower face grey; `generate` is the paper's M on
    the latent grid, 1 where the model must generate, [B, F, h, w], or [B, 1, h, w] for every frame alike. Returns mask
    and masked latents [B, 20, T, h, w].
    """
    num_frames = to_video_frames(masked_latents.shape[2])
    known = (1.0 - generate.to(masked_latents)).expand(-1, num_frames, -1, -1)
    return torch.cat([mask_channels(known), masked_latents], dim=1)


def text_to_video(like: Tensor) -> Tensor:
    """Text-to-video: nothing is known. Zeros [B, 20, T, h, w] for latents `like` [B, 16, T, h, w]."""
    batch, channels, frames, height, width = like.shape
    return like.new_zeros(batch, FRAMES_PER_LATENT + channels, frames, height, width)


def reference_slot(reference: Tensor) -> Tensor:
    """What stands in front of a window that does not begin the clip: the same face at another moment.

    Mask and masked latents [B, 20, 1, h, w]. One known frame of four (1000) tells it from a clip's own first frame
    (1111): the picture is known, but its time is not that of the window.
    """
    batch, _, _, height, width = reference.shape
    mask = reference.new_zeros(batch, FRAMES_PER_LATENT, 1, height, width)
    mask[:, 0] = 1.0
    return torch.cat([mask, reference], dim=1)
