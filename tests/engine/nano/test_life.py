"""Laws of a face's life: what it does besides speaking, from a voice, a prompt and a key."""

from itertools import combinations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.contract.request import build_request
from engine.contract.variants import FPS
from engine.nano.life import BODY, BROWS, CLOSING, CORNERS, DROOP, GAZE, Life, key_of, live, manner
from engine.nano.voice import Voice, hear
from engine.sampling.takes import Take, takes, takes_metadata


def sentence(seed: int, seconds: float = 12.0) -> np.ndarray:
    """Syllables of noise of different loudness in phrases with pauses between, float32 at 16 kHz."""
    random = np.random.default_rng(seed)
    wave = np.zeros(int(seconds * 16000), np.float32)
    at = int(random.uniform(0.1, 0.6) * 16000)
    while at < len(wave):
        for _ in range(random.integers(3, 9)):
            length = int(random.uniform(0.12, 0.3) * 16000)
            loudness = random.choice([0.03, 0.06, 0.2])
            piece = random.normal(0, loudness, length) * np.hanning(length)
            wave[at : at + length] += piece[: max(0, len(wave) - at)].astype(np.float32)
            at += length
        at += int(random.uniform(0.4, 1.0) * 16000)
    return wave


def voice_of(seed: int, seconds: float = 12.0) -> Voice:
    return hear(sentence(seed, seconds), round(seconds * FPS), 640)


def blinks(life: Life) -> np.ndarray:
    """Frames in which the lids begin to be more closed than open."""
    return np.flatnonzero(np.diff((life.tracks[:, CLOSING] > 0.5).astype(int)) == 1)


def test_phrases_and_stresses_are_heard_where_they_are():
    wave = np.zeros(16000 * 4, np.float32)
    tone = 0.05 * np.sin(np.arange(16000) * 0.2).astype(np.float32)
    wave[8000:24000], wave[40000:56000] = tone, tone
    wave[14400:17600] *= 5
    voice = hear(wave, 100, 640)
    assert len(voice.phrases) == 2
    assert np.abs(np.array(voice.phrases) - [[12, 38], [62, 88]]).max() <= 3
    assert any(abs(at - 25) <= 2 and strength > 0.9 for at, strength in voice.stresses)
    assert voice.speaking[25] > 0.9
    assert voice.speaking[50] < 0.1


@pytest.mark.parametrize("wave", [np.zeros(0, np.float32), np.zeros(64000, np.float32), np.ones(3, np.float32)])
def test_silence_and_scraps_are_no_speech_and_still_live(wave):
    voice = hear(wave, 150, 640)
    life = live(voice, manner(""), 1)
    assert life.tracks.shape[0] == 150 and np.isfinite(life.tracks).all()
    assert len(blinks(life)) >= 1


def test_the_same_face_voice_and_seed_live_the_same_life_and_any_other_another():
    voice, wanted = voice_of(0), manner("")
    one = live(voice, wanted, key_of("a", "v", 5))
    np.testing.assert_array_equal(one.tracks, live(voice, wanted, key_of("a", "v", 5)).tracks)
    for other in (key_of("b", "v", 5), key_of("a", "w", 5), key_of("a", "v", 6)):
        assert np.abs(live(voice, wanted, other).tracks - one.tracks)[:, :3].max() > np.radians(1)


def test_clips_of_different_voices_do_not_share_a_dance():
    yaws = [live(voice_of(n), manner(""), key_of("a", str(n), 0)).tracks[:, 0] for n in range(12)]
    r = [np.corrcoef(one, other)[0, 1] for one, other in combinations(yaws, 2)]
    assert abs(np.mean(r)) < 0.15


def test_eyes_blink_ten_to_twenty_five_times_a_minute_and_in_every_clip_of_six_seconds():
    rates = [len(blinks(live(voice_of(n, 60), manner(""), n))) for n in range(8)]
    assert min(rates) >= 10 and max(rates) <= 25
    assert all(len(blinks(live(voice_of(n, 6), manner(""), n))) >= 1 for n in range(60))


def test_a_blink_is_deep_and_short():
    closing = live(voice_of(1, 60), manner(""), 1).tracks[:, CLOSING]
    for start in blinks(live(voice_of(1, 60), manner(""), 1)):
        around = closing[start - 3 : start + 10]
        assert around.max() >= 0.9
        assert 3 <= (around > 0.5 * around.max()).sum() <= 5


def test_blinks_come_at_pauses_more_often_than_by_chance():
    near = total = 0
    for n in range(12):
        voice = voice_of(n, 60)
        ends = np.array([stop for _, stop in voice.phrases])
        for at in blinks(live(voice, manner(""), n)):
            near, total = near + (np.abs(ends - at).min() <= 3), total + 1
    share_of_time = np.mean([7 * len(voice_of(n, 60).phrases) / (60 * FPS) for n in range(12)])
    assert near / total > 1.4 * share_of_time


@pytest.mark.parametrize(
    ("prompt", "low", "high"),
    [
        ("a woman who never blinks", 0, 0),
        ("She does not blink.", 0, 0),
        ("He doesn't blink, nods", 0, 0),
        ("unblinking stare", 0, 0),
        ("don't blink too often", 7, 15),
        ("blinks rarely", 7, 15),
        ("she blinks often", 20, 36),
        ("not still, happy", 10, 25),
    ],
)
def test_what_a_prompt_says_of_blinking_is_done(prompt, low, high):
    rates = [len(blinks(live(voice_of(n, 60), manner(prompt), n))) for n in range(4)]
    assert low <= np.mean(rates) <= high


def head_deg(prompt: str, seconds: float = 20) -> np.ndarray:
    lives = [live(voice_of(n, seconds), manner(prompt), n).tracks[:, :3] for n in range(8)]
    return np.degrees(np.concatenate(lives))


def test_a_head_moves_as_a_quiet_speakers_and_as_the_prompt_says():
    yaw, pitch, roll = head_deg("").std(0)
    assert 2 < yaw < 4.5 and 1.5 < pitch < 3 and 1.2 < roll < 3
    assert np.abs(head_deg("")).max() < 13
    assert head_deg("keeping still, a man explains").std(0).max() < 0.4
    assert head_deg("she is nodding").std(0).max() < 0.4 * yaw
    assert head_deg("lively").std(0)[0] > 1.15 * yaw


def test_a_head_is_quieter_in_silence():
    silent = [live(Voice(np.zeros(500)), manner(""), n).tracks[:, :3] for n in range(8)]
    assert np.degrees(np.concatenate(silent)).std(0)[0] < 0.7 * head_deg("").std(0)[0]


def test_nothing_jumps_but_eyes():
    for n in range(6):
        tracks = live(voice_of(n, 30), manner(""), n).tracks
        assert np.degrees(np.abs(np.diff(tracks[:, :3], 2, axis=0))).max() < 0.6
        assert np.abs(np.diff(tracks[:, BROWS], 2, axis=0)).max() < 1.0
        assert np.abs(np.diff(tracks[:, CORNERS], axis=0)).max() < 0.3
        assert np.abs(np.diff(tracks[:, BODY], axis=0)).max() < 0.003


def test_brows_rise_by_millimetres_and_never_quite_alike():
    tracks = live(voice_of(3, 60), manner(""), 3).tracks[:, BROWS]
    assert np.ptp(tracks.mean(1)) >= 4
    assert 0.2 < (tracks[:, 0] - tracks[:, 1]).std() < 2


def test_eyes_look_about_within_reach_and_upper_lids_follow():
    tracks = live(voice_of(2, 60), manner(""), 2).tracks
    assert 0.3 < tracks[:, GAZE].std(0)[0] < 1.5
    assert np.abs(tracks[:, GAZE]).max() < 3
    assert np.corrcoef(tracks[:, DROOP], tracks[:, GAZE][:, 1])[0, 1] > 0.3


def test_a_clip_begins_at_rest_and_settles_where_it_must_end_on_a_picture():
    life = live(voice_of(0), manner(""), 0)
    assert not life.tracks[0].any()
    settled = life.settling(300)
    assert not settled.tracks[299].any()
    np.testing.assert_array_equal(settled.tracks[:200], life.tracks[:200])


def test_a_stretch_made_anew_leaves_the_rest_of_the_life_alone(tmp_path):
    voice = voice_of(0)
    one, other = (live(voice, manner(""), seed) for seed in (1, 2))
    anew = one.retaken(other, 100, 150)
    np.testing.assert_array_equal(np.delete(anew.tracks, range(100, 150), 0), np.delete(one.tracks, range(100, 150), 0))
    np.testing.assert_array_equal(anew.tracks[115:135], other.tracks[115:135])


def test_latents_tell_their_takes(tmp_path):
    asked = {"image": "a.png", "audio": "a.wav", "out": tmp_path / "a.mp4"}
    first = build_request(asked | {"seed": 3})
    assert takes(first) == (Take(3),)
    kept = tmp_path / "kept.safetensors"
    for seed, span in ((5, (1.0, 2.0)), (6, (1.5, 3.0))):
        save_file({"latents": torch.zeros(1)}, kept, metadata=takes_metadata(first))
        first = build_request(asked | {"seed": seed, "redo_latents": kept, "redo_span_s": span})
    assert takes(first) == (Take(3), Take(5, 1.0, 2.0), Take(6, 1.5, 3.0))
    save_file({"latents": torch.zeros(1)}, kept)
    assert takes(first) == (Take(6), Take(6, 1.5, 3.0))
