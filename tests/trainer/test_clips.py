import numpy as np
import pytest

from engine.nano.face_motion import CONTROL_POINTS
from trainer.data.speech.corpus import Corpus
from trainer.data.synthetic_clips import CAPTION_WORDS, DEGRADED_WORDS, VOCABULARY, ClipMaker


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
    degraded = {word for words in DEGRADED_WORDS.values() for word in words}
    for points, first, caption in zip(clips.points, clips.first_frames, clips.captions, strict=True):
        if degraded & set(caption.split()):
            continue
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
    words = [word for captions in (CAPTION_WORDS, DEGRADED_WORDS) for meaning in captions.values() for word in meaning]
    assert len(words) == len(set(words))


def test_a_clip_that_ends_on_a_picture_holds_it_and_comes_to_it_without_a_jump(clip_maker):
    clips = clip_maker.draw(2, 32, 8, np.ones(32, bool))
    assert set(clips.known_at_end) == {1, 2, 3, 4}
    for points, slots, known in zip(clips.points, clips.slots, clips.known_at_end, strict=True):
        np.testing.assert_allclose(points[-known:], np.broadcast_to(points[-1], points[-known:].shape), atol=1e-6)
        np.testing.assert_allclose(slots[-known:], np.broadcast_to(slots[-1], slots[-known:].shape), atol=1e-6)
        assert np.abs(np.diff(points[-12:], axis=0)).max() < 0.05


def test_one_clip_in_twenty_is_degraded_and_says_so(clip_maker):
    drawn = [clip_maker.draw(step, 100, 4) for step in range(10)]
    frozen = {word: [] for word in DEGRADED_WORDS["frozen"]}
    degraded = 0
    for clips in drawn:
        for points, caption in zip(clips.points, clips.captions, strict=True):
            degraded += any(set(words) & set(caption.split()) for words in DEGRADED_WORDS.values())
            for word in frozen.keys() & set(caption.split()):
                frozen[word].append(float(np.abs(np.diff(points[8:], axis=0)).max()))
    assert degraded / 1000 == pytest.approx(0.05, abs=0.02)
    assert all(max(motion) < 1e-6 for motion in frozen.values() if motion)
    assert any(frozen.values())
