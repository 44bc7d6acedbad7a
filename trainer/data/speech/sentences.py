"""Things to say: endless sentences over a vocabulary of many thousand words, in several languages.

English words are those of CMU's pronouncing dictionary (it comes with the pocketsphinx package). Other languages are
spoken as words made of their usual syllables: the voice's own spelling rules turn them into that language's sounds,
and no meaning is needed to learn lips.
"""

from functools import cache
from pathlib import Path

import numpy as np

_FUNCTION_WORDS = (
    "the a an and or but so if then when while because of to in on at by for with from about into over "
    "under after before i you he she it we they me him her us them my your his our their this that these "
    "those is are was were be been have has had do does did will would can could should may might must "
    "not no yes very too also just only what who where why how which all some any many much more most "
    "please never always again now here there"
).split(" ")

_SYLLABLES: dict[str, tuple[str, str, str]] = {
    # language: onsets, nuclei, codas; an empty coda appears where two spaces meet
    "de": ("b d f g h j k l m n p r s t w sch pf z st br gr", "a e i o u ä ö ü ei au eu ie", "n r l t s ch ng mt f  "),
    "fr": ("b d f g l m n p r s t v ch j br pl gr", "a e i o u é è ou eau an on in oi eu", "r l t s      "),
    "es": ("b d f g l m n p r s t v ch ll ñ br pl", "a e i o u ie ue ai", "n s r l     "),
    "it": ("b d f g l m n p r s t v c gn gl br pr", "a e i o u ia io", "n r l      "),
    "pt-br": ("b d f g l m n p r s t v ch j lh nh", "a e i o u ão ei ou", "m s r      "),
    "pl": ("b d f g l m n p r s t w cz sz rz k z", "a e i o u y ą ę", "k t m w j    "),
    "ru": ("б д ф г л м н п р с т в ж ш ч к з", "а е и о у ы я ю", "н т м л к    "),
    "hi": ("ब द फ ग ल म न प र स त व ज च क", "ा े ि ो ु ी", "न म र ल    "),
    "cmn-latn-pinyin": ("b p m f d t n l g k h j q x zh ch sh r z w", "a o e i u ai ei ao ou an en ang eng ong", ""),
    "ja": ("か さ た な は ま や ら わ ば ぱ が だ", "", ""),
    "sv": ("b d f g l m n p r s t v sj tj k", "a e i o u å ä ö y", "n r l t m    "),
    "tr": ("b d f g l m n p r s t v ç ş c k", "a e i o u ö ü ı", "n r l m k    "),
}  # fmt: skip

LANGUAGES = tuple(_SYLLABLES)


@cache
def english_words() -> tuple[str, ...]:
    """Words of 2 to 12 letters of CMU's dictionary, without alternatives and abbreviations."""
    import pocketsphinx

    lines = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text().splitlines()
    words = (line.split(" ", 1)[0] for line in lines)
    return tuple(word for word in words if word.isalpha() and 2 <= len(word) <= 12)


def english_sentence(random: np.random.Generator) -> str:
    """Three to twelve words, every other one a function word on average, with commas and an end mark."""
    words = english_words()
    said = []
    for _ in range(random.integers(3, 13)):
        said.append(
            str(random.choice(_FUNCTION_WORDS)) if random.random() < 0.45 else words[random.integers(len(words))]
        )
        if random.random() < 0.12:
            said[-1] += ","
    return " ".join(said).rstrip(",") + str(random.choice([".", ".", ".", "?", "!"]))


def foreign_sentence(language: str, random: np.random.Generator) -> str:
    """Three to nine made-up words of one to four syllables in `language`, one of LANGUAGES."""
    onsets, nuclei, codas = (part.split(" ") for part in _SYLLABLES[language])
    tones = ["1", "2", "3", "4"] if language == "cmn-latn-pinyin" else [""]

    def syllable() -> str:
        return "".join(str(random.choice(part)) for part in (onsets, nuclei, codas, tones))

    separator = " " if language == "cmn-latn-pinyin" else ""
    words = (separator.join(syllable() for _ in range(random.integers(1, 5))) for _ in range(random.integers(3, 10)))
    return " ".join(words) + "."
