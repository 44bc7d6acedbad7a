"""What is said of words that do nothing, and the numbers of those that do."""

import json
from pathlib import Path

import pytest

from engine.contract.variants import NANO, NANO_DESCRIPTION
from engine.nano.words import HALF_BODY_NOTICE, Vocabulary

KNOWN = Vocabulary(("calm", "happy", "nodding"), most=2)


def test_known_words_have_their_numbers_in_the_texts_order_and_no_more_than_are_listened_to():
    assert KNOWN.numbers("Nodding, and HAPPY; calm") == [3, 2]
    assert KNOWN.unknown("nodding happy calm") == ["calm"]


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("she gestures with both hands", ["gestures", "hands"]),
        ("happy, and not blinking too often", []),
        ("a happy, unblinking, lively person", ["person"]),
        ("hands hands hands", ["hands"]),
        ("", []),
    ],
)
def test_only_words_that_somebody_meant_are_said_to_do_nothing(text: str, unknown: list[str]):
    assert KNOWN.unknown(text) == unknown


def test_a_long_list_is_cut_and_half_bodies_say_what_stays():
    said = KNOWN.notices("half-body", {"prompt": "ab cd ef gh ij kl mn op qr st", "negative prompt": "happy"})
    assert said[0] == HALF_BODY_NOTICE and said[1].endswith("do nothing: ab, cd, ef, gh, ij, kl, mn, op, ….")
    assert len(said) == 2 and KNOWN.notices("talking-head", {"prompt": "calm"}) == []


def test_a_description_that_changes_is_read_again(tmp_path: Path):
    path = tmp_path / NANO_DESCRIPTION
    path.write_text(json.dumps({"vocabulary": ["one"]}))
    assert Vocabulary.of(tmp_path).words == ("one",)
    path.write_text(json.dumps({"vocabulary": ["one", "two"]}))
    assert Vocabulary.of(tmp_path).words == ("one", "two")
    assert "happy" in Vocabulary.of(NANO.folder).words
