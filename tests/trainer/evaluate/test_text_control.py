import numpy as np
import pytest

from engine.contract.variants import NANO
from engine.nano.model import NanoModel
from tests.tiny_nano import tiny_nano
from trainer.data.speech.corpus import Track
from trainer.data.synthetic_clips import CAPTION_WORDS, EMOTIONS, MOVEMENTS
from trainer.metrics.held_out import synthetic_reference
from trainer.metrics.text_control import PROMPTS, RULES, HeadMotion, held_out_text_control
from trainer.metrics.true_motion import act

FRAMES = 150
CLIPS = 6
TRUE = {
    "nod": ("calm", "nodding"),
    "shake": ("calm", "shaking"),
    "still": ("calm", "still"),
    "smile": ("happy", "natural"),
    "eyebrows up": ("surprised", "natural"),
}


def hum(seed: int) -> Track:
    """A mouth that opens and closes some three times a second, and its sound."""
    random = np.random.default_rng(seed)
    times_s = np.arange(FRAMES) / 25
    curves = np.zeros((FRAMES, 5), np.float32)
    curves[:, 0] = 0.35 * (1 + np.sin(2 * np.pi * (random.uniform(2, 4) * times_s + random.random())))
    curves[:, 1] = 0.3 * np.sin(2 * np.pi * 1.1 * times_s)
    wave = 0.3 * np.repeat(curves[:, 0], 640) * np.sin(2 * np.pi * 150 * np.arange(FRAMES * 640) / 16000)
    return Track(wave.astype(np.float32), curves, "hum", ())


@pytest.fixture(scope="module")
def nano() -> NanoModel:
    return NanoModel.load(NANO.folder)


def acted(nano: NanoModel, mood: str, movement: str) -> list[HeadMotion]:
    motions = []
    for seed in range(CLIPS):
        reference = synthetic_reference(nano, seed)
        landmarks_px = act(nano.autoencoder, reference, hum(seed), seed=seed, mood=mood, movement=movement)
        motions.append(HeadMotion.of(nano.autoencoder, landmarks_px, reference))
    return motions


@pytest.fixture(scope="module")
def seen(nano) -> dict[tuple[str, str], dict[str, float]]:
    """How often each rule sees its idea, by what was acted."""
    every = [*TRUE.values(), ("calm", "natural"), ("sad", "tilting"), ("angry", "lively")]
    return {
        what: {idea: float(np.mean([rule(motion) for motion in acted(nano, *what)])) for idea, rule in RULES.items()}
        for what in every
    }


@pytest.mark.parametrize("idea", RULES)
def test_true_motion_is_recognised(idea, seen):
    assert seen[TRUE[idea]][idea] >= 0.95


@pytest.mark.parametrize("idea", RULES)
def test_motion_of_anything_else_is_not(idea, seen):
    assert max(rates[idea] for what, rates in seen.items() if what != TRUE[idea]) <= 0.05


def test_every_prompt_asks_for_its_idea_in_words_of_the_captions_and_is_no_caption():
    captions = {"nod": "nodding", "shake": "shaking", "still": "still", "smile": "happy", "eyebrows up": "surprised"}
    for idea, prompts in PROMPTS.items():
        for prompt in prompts:
            words = prompt.replace(",", "").split()
            known = {word for meaning in CAPTION_WORDS.values() for word in meaning} & set(words)
            assert known and known <= set(CAPTION_WORDS[captions[idea]]), prompt
            assert len(words) > 2
    assert {mood for mood, _ in TRUE.values()} <= set(EMOTIONS)
    assert {movement for _, movement in TRUE.values()} <= set(MOVEMENTS)


def test_a_model_is_asked_for_everything_and_for_nothing():
    control = held_out_text_control(tiny_nano(), seeds=1, tracks=[hum(0)])
    assert control.asked == {idea: len(prompts) for idea, prompts in PROMPTS.items()}
    assert set(control.recognised) == set(control.false_alarms) == set(RULES)
    assert all(0 <= control.recognised[idea] <= control.asked[idea] for idea in RULES)
    assert control.unasked == max(control.asked.values())
    assert 0.0 <= control.share <= 1.0
