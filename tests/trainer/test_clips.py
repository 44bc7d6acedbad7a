import numpy as np
import pytest

from engine.model.face_motion import CONTROL_POINTS
from trainer.clips import CAPTION_WORDS, VOCABULARY, ClipMaker
from trainer.speech.corpus import Corpus


@pytest.fixture(scope="session")
def clip_maker(toy_corpus_folder) -> ClipMaker:
    return ClipMaker(Corpus(toy_corpus_folder / "train"), seed=0, faces=8)


def test_a_step_draws_the_same_clips_whenever_it_is_asked(clip_maker):
    first, again, other = clip_maker.draw(7, 3, 4), clip_maker.draw(7, 3, 4), clip_maker.draw(8, 3, 4)
    np.testing.assert_array_equal(first.points, again.points)
    assert first.captions == again.captions
    assert not np.array_equal(first.points, other.points)


def test_lips_of_a_clip_follow_the_corpus(clip_maker, toy_corpus_folder):
    order = CONTROL_POINTS.tolist()
    curves = Corpus(toy_corpus_folder / "train").curves
    clips = clip_maker.draw(0, 16, 8)
    for points, first in zip(clips.points, clips.first_frames, strict=True):
        gap = points[8:, order.index(14), 1] - points[8:, order.index(13), 1]
        true = curves[first + 8 : first + points.shape[0], 0].astype(float)
        assert np.corrcoef(gap, true)[0, 1] > 0.99


def test_a_continuous_clip_starts_at_its_reference_without_a_jump(clip_maker):
    clips = clip_maker.draw(1, 32, 8)
    steps = np.abs(np.diff(clips.points, axis=1)).max((2, 3))
    assert clips.continuous.any()
    assert steps[clips.continuous, 0].max() < 0.03


def test_captions_use_the_vocabulary_only(clip_maker):
    words = {word for step in range(20) for caption in clip_maker.draw(step, 8, 1).captions for word in caption.split()}
    assert words and words <= set(VOCABULARY)


def test_no_word_means_two_things():
    words = [word for meaning in CAPTION_WORDS.values() for word in meaning]
    assert len(words) == len(set(words))
