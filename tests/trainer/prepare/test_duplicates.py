import numpy as np

from trainer.prepare.duplicates import MAX_HASH_DISTANCE, find_duplicates, majority, picture_bits, same_sound


def clip(name: str, bits: np.ndarray, track: np.ndarray, side: int = 512) -> dict:
    return {
        "id": name,
        "picture_hash": np.packbits(bits).tobytes().hex(),
        "sound_track": track.tolist(),
        "width_px": side,
        "height_px": side,
    }


def speech(seed: int, frames: int = 200) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.convolve(random.normal(0, 20, frames + 4), np.ones(5) / 5, "valid") - 30


def test_a_smaller_picture_with_the_same_sound_is_a_copy_of_the_larger():
    bits = np.random.default_rng(0).random(64) < 0.5
    near = bits.copy()
    near[[3, 17]] ^= True
    clips = [clip("a", near, speech(1), side=256), clip("b", bits, speech(1)), clip("c", ~bits, speech(1))]
    assert find_duplicates(clips) == {"a": "b"}


def test_a_speaker_who_says_something_else_is_no_copy():
    bits = np.random.default_rng(0).random(64) < 0.5
    assert find_duplicates([clip("a", bits, speech(1)), clip("b", bits, speech(2))]) == {}


def test_of_many_copies_one_stays_whatever_their_order():
    bits = np.zeros(64, bool)
    clips = [clip(name, bits, speech(1)) for name in "dbca"]
    assert find_duplicates(clips) == {name: "a" for name in "bcd"}
    assert find_duplicates(clips[::-1]) == find_duplicates(clips)


def test_looking_at_equal_groups_of_bits_finds_every_near_pair():
    random = np.random.default_rng(4)
    bits = random.random((40, 64)) < 0.5
    bits[20:] = bits[:20]
    for index in range(20):
        bits[20 + index, random.permutation(64)[: index % 12]] ^= True
    clips = [clip(f"{index:02d}", row, speech(index % 20)) for index, row in enumerate(bits)]
    wanted = {f"{20 + index:02d}": f"{index:02d}" for index in range(20) if index % 12 <= MAX_HASH_DISTANCE}
    assert find_duplicates(clips) == wanted


def test_the_same_sound_is_found_moved_and_cut_but_not_where_little_overlaps():
    track = speech(5, 300)
    for first in (0, 1, 40, 120):
        assert same_sound(track[:200].tolist(), track[first : first + 150].tolist())
    assert not same_sound(track[:200].tolist(), track[190:].tolist())
    assert not same_sound([0.0] * 50, [0.0] * 50)


def test_a_picture_keeps_its_hash_when_it_shrinks():
    picture = np.kron(np.random.default_rng(0).integers(0, 255, (8, 8, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    one, other = (
        np.array(list(bytes.fromhex(majority([picture_bits(frame)])))) for frame in (picture, picture[::2, ::2])
    )
    assert np.unpackbits((one ^ other).astype(np.uint8)).sum() <= 2


def test_the_majority_of_each_bit_counts():
    rows = [np.array([True] * 64), np.array([True] * 32 + [False] * 32), np.array([False] * 48 + [True] * 16)]
    assert majority(rows) == "ffffffff0000ffff"
