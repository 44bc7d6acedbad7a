"""Nano's own small encoders of sound, words and faces, trained by our trainer, where the released model uses
wav2vec2, umT5 and CLIP. Knows nothing about the transformer but the shapes that it takes.
"""

import librosa
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.nano.words import Vocabulary
from engine.wan.audio_projection import WINDOW

SAMPLE_RATE_HZ = 16000
MEL_BANDS = 64
MEL_HOP = 160
MEL_PER_VIDEO_FRAME = 4
_MEL_CONTEXT = 8
SAMPLES_PER_VIDEO_FRAME = MEL_HOP * MEL_PER_VIDEO_FRAME
CURVE_COUNT = 5
"""Mouth curves that the audio encoder is pre-trained on: aperture, width, bite, teeth, tongue."""

_SPEECH_RMS = 0.08
_MAX_GAIN = 30.0
_LOUDEST = 0.995
_SPEECH_ABOVE = 0.2
"""Frames above this share of the loudest ones count as speech when the level is judged, however long the pauses."""


class NanoAudioEncoder(nn.Module):
    """Sound to one feature vector per video frame: log-mel bands and dilated convolutions, half a second of context.

    Pre-trained to regress the mouth curves of synthetic speech (`head`); the features before the head are what the
    transformer's audio attention gets, through the flash projection, because its windows keep the order of frames
    that the preview projection's unordered tokens would lose with so small an encoder.
    """

    mel_bank: Tensor
    window: Tensor

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        bank = librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=512, n_mels=MEL_BANDS, fmin=60, fmax=7600)
        self.register_buffer("mel_bank", torch.from_numpy(bank), persistent=False)
        self.register_buffer("window", torch.hann_window(400), persistent=False)
        self.inlet = nn.Linear(MEL_BANDS * _MEL_CONTEXT, channels)
        self.blocks = nn.ModuleList(_DilatedBlock(channels, dilation) for dilation in (1, 1, 2, 3, 4, 1))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, CURVE_COUNT)

    def log_mel(self, waves: Tensor) -> Tensor:
        """`waves` [B, 640·F] in [-1, 1] → [B, 64, 4F], near zero mean and unit deviation for speech."""
        spectrum = torch.stft(waves, 512, MEL_HOP, 400, self.window, center=True, return_complex=True)
        power = spectrum.abs().square()[:, :, : waves.shape[1] // MEL_HOP]
        return (torch.log(self.mel_bank @ power + 1e-4) + 2.0) / 3.0

    def forward(self, waves: Tensor) -> Tensor:
        """`waves` [B, 640·F] → features [B, F, channels]."""
        margin = (_MEL_CONTEXT - MEL_PER_VIDEO_FRAME) // 2
        mel = F.pad(self.log_mel(waves), (margin, margin))
        x = self.inlet(mel.unfold(2, _MEL_CONTEXT, MEL_PER_VIDEO_FRAME).transpose(1, 2).flatten(2))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    @torch.no_grad()
    def encode(self, wave: np.ndarray, num_frames: int) -> Tensor:
        """`wave` float32 [n] at 16 kHz, cut or padded with silence to F = `num_frames` → [1, F, 5, 1, channels]."""
        wanted = num_frames * SAMPLES_PER_VIDEO_FRAME
        wave = level(wave)[:wanted]
        wave = np.pad(wave, (0, wanted - len(wave)))
        return frame_windows(self(torch.from_numpy(wave)[None]))


class _DilatedBlock(nn.Module):
    """A residual convolution over three frames `dilation` apart, written as one matrix product: faster on CPUs."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Linear(3 * channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(self.norm(x), (0, 0, self.dilation, self.dilation))
        frames = x.shape[1]
        taps = [padded[:, tap * self.dilation : tap * self.dilation + frames] for tap in range(3)]
        return x + self.narrow(F.gelu(self.wide(torch.cat(taps, dim=2))))


def level(wave: np.ndarray) -> np.ndarray:
    """`wave` float32 [n] at the loudness the encoder knows, judged on its speech; silence stays silent."""
    usable = len(wave) // SAMPLES_PER_VIDEO_FRAME * SAMPLES_PER_VIDEO_FRAME
    if usable == 0:
        return wave
    rms = np.sqrt(np.mean(wave[:usable].reshape(-1, SAMPLES_PER_VIDEO_FRAME) ** 2, axis=1))
    loudest = float(np.quantile(rms, _LOUDEST))
    loud = float(np.sqrt(np.mean(rms[rms >= _SPEECH_ABOVE * loudest] ** 2)))
    return wave if loud == 0 else (wave * min(_SPEECH_RMS / loud, _MAX_GAIN)).astype(np.float32)


def frame_windows(features: Tensor) -> Tensor:
    """Features [B, F, C] → the 5-frame window round every frame, [B, F, 5, 1, C]; zeros beyond the ends."""
    margin = WINDOW // 2
    return F.pad(features, (0, 0, margin, margin)).unfold(1, WINDOW, 1).transpose(2, 3).unsqueeze(3)


class NanoTextEncoder(nn.Module):
    """Words to one vector each, from a small vocabulary that it was trained on; other words are passed over.

    Order is not seen: "nodding happily" is two wishes, not a sentence.
    """

    def __init__(self, vocabulary: Vocabulary, channels: int = 64) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(len(vocabulary.words) + 1, channels, padding_idx=0)

    def tokens(self, prompts: list[str]) -> Tensor:
        """[B, most] numbers of the known words of every prompt, 0 behind them."""
        rows = [self.vocabulary.numbers(prompt) for prompt in prompts]
        return torch.tensor([row + [0] * (self.vocabulary.most - len(row)) for row in rows])

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, most] → [B, most, channels], zeros where there is no word."""
        return self.embedding(tokens)


class NanoImageEncoder(nn.Module):
    """The still face to 16 tokens, one per group of points (2x2 cells of the motion latent's grid, half a token of the
    transformer): who it is and how the mouth rests."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * 2 * 2, channels)
        self.place = nn.Parameter(torch.randn(16, channels) * 0.02)

    def forward(self, reference_latent: Tensor) -> Tensor:
        """`reference_latent` [B, 16, 1, 8, 8] → [B, 16, channels], from its first frame's position values."""
        positions = reference_latent[:, :2, 0]
        patches = F.pixel_unshuffle(positions, 2).flatten(2).transpose(1, 2)
        return self.embed(patches) + self.place
