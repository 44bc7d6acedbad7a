import numpy as np
import pytest

from trainer.metrics.speech_tracks import SAMPLE_RATE_HZ, band_log_energy_db, voiced_frames


def tone(frequency_hz: float, seconds: float = 4.0) -> np.ndarray:
    t = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.sin(2 * np.pi * frequency_hz * t).astype(np.float32)


def test_a_burst_is_heard_in_the_frames_it_covers_and_nowhere_else():
    audio = tone(1000) * 1e-4
    audio[640 * 30 : 640 * 40] += tone(1000)[: 640 * 10]
    energy = band_log_energy_db(audio)
    assert len(energy) == 100
    assert np.array_equal(np.flatnonzero(energy > energy.max() - 3), np.arange(30, 40))


def test_a_tone_outside_the_speech_band_is_quiet():
    quiet = np.concatenate([tone(1000), tone(60), tone(7000)])
    energy = band_log_energy_db(quiet)
    assert np.median(energy[:100]) - np.median(energy[100:200]) > 20
    assert np.median(energy[:100]) - np.median(energy[200:]) > 20


def test_the_gain_only_moves_the_track():
    rng = np.random.default_rng(0)
    audio = (rng.normal(size=SAMPLE_RATE_HZ * 2) * np.linspace(0, 0.3, SAMPLE_RATE_HZ * 2)).astype(np.float32)
    assert band_log_energy_db(audio * 0.01) + 40 == pytest.approx(band_log_energy_db(audio), abs=1e-3)


def test_silence_is_flat_and_unvoiced():
    silence = np.zeros(SAMPLE_RATE_HZ * 3, dtype=np.float32)
    assert np.ptp(band_log_energy_db(silence)) == 0.0
    assert not voiced_frames(silence).any()


def test_loading_the_voice_detector_leaves_torch_its_threads():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        voiced_frames(np.zeros(SAMPLE_RATE_HZ, dtype=np.float32))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
