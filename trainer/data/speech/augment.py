"""Make clean synthetic speech sound like anybody's recording, so that what is learnt carries over to real voices.

Batches of waves in, batches of the same length out, nothing moved in time. Pitch and formants are varied where the
corpus is made, because that moves the phonemes too.
"""

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from trainer.data.speech.utterance import SAMPLE_RATE_HZ

_EQ_POINTS = 8
_EQ_DB = 9.0
_REVERB_SHARE, _NOISE_SHARE, _BAND_SHARE, _CODEC_SHARE = 0.45, 0.75, 0.2, 0.15


def augment(waves: Tensor, random: torch.Generator) -> Tensor:
    """`waves` [B, n] at 16 kHz → equaliser, room, band limit, noise and 8-bit codec, each at random. [B, n]."""
    batch, length = waves.shape
    loud = waves.abs().amax(dim=1, keepdim=True).clamp_min(0.1)
    padded = next_fast_len(length + SAMPLE_RATE_HZ // 2, real=True)
    spectrum = torch.fft.rfft(waves, padded) * _equaliser(batch, padded, random) * _room(batch, padded, random)
    wet = torch.fft.irfft(spectrum, padded)[:, :length]
    return _codec(wet + loud * _noise(batch, length, random), random)


def _chance(batch: int, share: float, random: torch.Generator) -> Tensor:
    return (torch.rand(batch, 1, generator=random) < share).float()


def _uniform(batch: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(batch, 1, generator=random)


def _equaliser(batch: int, padded: int, random: torch.Generator) -> Tensor:
    """Gains [B, padded/2 + 1]: a smooth random curve over log-frequency, and for some a low-pass at 2.5-6 kHz."""
    bins = padded // 2 + 1
    frequency = torch.linspace(0, SAMPLE_RATE_HZ / 2, bins)
    place = (torch.log2(frequency.clamp_min(60) / 60) / math.log2(8000 / 60) * (_EQ_POINTS - 1)).clamp(
        0, _EQ_POINTS - 1.001
    )
    points = torch.randn(batch, _EQ_POINTS, generator=random) * _EQ_DB / 2
    left, share = place.long(), place - place.long()
    decibels = points[:, left] * (1 - share) + points[:, left + 1] * share
    cut = _uniform(batch, 2500, 6000, random)
    low_pass = torch.sigmoid((cut - frequency) / 150)
    banded = _chance(batch, _BAND_SHARE, random)
    return 10 ** (decibels / 20) * (1 - banded + banded * low_pass)


def _room(batch: int, padded: int, random: torch.Generator) -> Tensor:
    """Transfer function of a room: the direct sound, and exponentially decaying noise for RT60 of 0.1-0.7 s."""
    length = SAMPLE_RATE_HZ // 2
    times_s = torch.arange(length) / SAMPLE_RATE_HZ
    decay = torch.exp(-6.9 * times_s / _uniform(batch, 0.1, 0.7, random))
    tail = torch.randn(batch, length, generator=random) * decay
    tail = tail / tail.square().sum(dim=1, keepdim=True).sqrt()
    tail = tail * _uniform(batch, 0.1, 0.7, random) * _chance(batch, _REVERB_SHARE, random)
    tail[:, 0] = 1.0
    return torch.fft.rfft(tail, padded)


def _noise(batch: int, length: int, random: torch.Generator) -> Tensor:
    """Noise from white to brown, 55 to 8 dB below the loudest speech, for most of the batch."""
    spectrum = torch.fft.rfft(torch.randn(batch, length, generator=random))
    frequency = torch.linspace(0, SAMPLE_RATE_HZ / 2, spectrum.shape[1]).clamp_min(50)
    noise = torch.fft.irfft(spectrum * (frequency / 50) ** -_uniform(batch, 0.0, 1.0, random), length)
    noise = noise / noise.square().mean(dim=1, keepdim=True).sqrt()
    decibels = _uniform(batch, -60.0, -18.0, random)
    return noise * 10 ** (decibels / 20) * _chance(batch, _NOISE_SHARE, random)


def _codec(waves: Tensor, random: torch.Generator) -> Tensor:
    """mu-law in 8 bits, as on a telephone, for some of the batch."""
    mu = 255.0
    peak = waves.abs().amax(dim=1, keepdim=True).clamp_min(1e-6)
    scaled = waves / peak
    companded = torch.sign(scaled) * torch.log1p(mu * scaled.abs()) / math.log1p(mu)
    coarse = torch.round(companded * 127) / 127
    restored = torch.sign(coarse) * torch.expm1(coarse.abs() * math.log1p(mu)) / mu * peak
    chosen = _chance(len(waves), _CODEC_SHARE, random)
    return waves * (1 - chosen) + restored * chosen
