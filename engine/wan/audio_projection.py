"""Audio features to attention tokens: one segment of tokens per latent frame, for each of the two released variants.

Knows nothing about attention or about which encoder made the features; only their layout in time. A latent frame
after the first stands for 4 video frames, the first for 1, so F = 4(T - 1) + 1 video frames make T latent frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.sampling.tasks import to_latent_frames

TOKENS_PER_VIDEO_FRAME = 2
TOKENS_PER_LATENT_FRAME = 4 * TOKENS_PER_VIDEO_FRAME
FIRST_TOKEN = -11
LAST_TOKEN = 5
SEGMENT_TOKENS = LAST_TOKEN - FIRST_TOKEN + 1
"""Latent frame i hears the 50 Hz tokens 8i - 11 ... 8i + 5: the 9 around its centre 8i - 3, and 4 more on each side."""

WINDOW = 5
"""Video frames in one flash audio window, centred on its frame."""


class PreviewAudioProjection(nn.Module):
    """50 Hz features, projected token by token, then cut into overlapping segments.

    `forward`: [B, 2F, audio_dim] → [B, T, 17, dim]. Tokens before the start and after the end are zeros, put in after
    the projection; the released code moves them all to the right end of a segment, which attention without positions
    cannot tell from ours. They are not masked: a zero token takes its share of the attention, as in the release.
    """

    def __init__(self, audio_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(audio_dim, dim, bias=False)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor) -> Tensor:
        """Project and cut `features` [B, 2F, audio_dim] into [B, T, 17, dim]."""
        if features.ndim != 3 or features.shape[1] % TOKENS_PER_VIDEO_FRAME:
            raise ValueError(f"Preview audio must be [B, 2F, channels]; got {tuple(features.shape)}.")
        to_latent_frames(features.shape[1] // TOKENS_PER_VIDEO_FRAME)
        tokens = self.norm(self.proj(features))
        tokens = F.pad(tokens, (0, 0, -FIRST_TOKEN, LAST_TOKEN + 1 - TOKENS_PER_VIDEO_FRAME))
        return tokens.unfold(1, SEGMENT_TOKENS, TOKENS_PER_LATENT_FRAME).transpose(2, 3)


class FlashAudioProjection(nn.Module):
    """25 Hz features of every encoder layer in 5-frame windows, distilled to a few context tokens per latent frame.

    `forward`: [B, F, 5, layers, audio_dim] → [B, T, context_tokens, dim]. The first latent frame sees its one window;
    each later one sees its 4 video frames with a margin of 2 on both sides (8 frames), read from their windows.
    """

    def __init__(self, audio_dim: int, layers: int, intermediate_dim: int, context_tokens: int, dim: int) -> None:
        super().__init__()
        self.context_tokens = context_tokens
        self.proj1 = nn.Linear(WINDOW * layers * audio_dim, intermediate_dim)
        self.proj1_vf = nn.Linear((WINDOW + 3) * layers * audio_dim, intermediate_dim)
        self.proj2 = nn.Linear(intermediate_dim, intermediate_dim)
        self.proj3 = nn.Linear(intermediate_dim, context_tokens * dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor) -> Tensor:
        """Project `features` [B, F, 5, layers, audio_dim] to [B, T, context_tokens, dim]."""
        if features.ndim != 5 or features.shape[2] != WINDOW:
            raise ValueError(f"Flash audio must be [B, F, {WINDOW}, layers, channels]; got {tuple(features.shape)}.")
        to_latent_frames(features.shape[1])
        centre = WINDOW // 2
        first = self.proj1(features[:, :1].flatten(2))
        groups = features[:, 1:].unflatten(1, (-1, 4))
        later = torch.cat([groups[:, :, 0, : centre + 1], groups[:, :, 1:-1, centre], groups[:, :, -1, centre:]], dim=2)
        hidden = F.relu(torch.cat([first, self.proj1_vf(later.flatten(2))], dim=1))
        hidden = F.relu(self.proj2(hidden))
        return self.norm(self.proj3(hidden).unflatten(2, (self.context_tokens, -1)))
