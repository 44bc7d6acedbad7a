"""What the mouth does for each phone, and how neighbouring phones blend (coarticulation).

Every phone has a target and a dominance; the curves are the dominance-weighted mean of the targets, after Cohen &
Massaro, "Modeling coarticulation in synthetic visual speech" (1993), with Gaussian dominance. Knows nothing about
faces: `trainer.data.faces` turns the curves into geometry.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d

from trainer.data.speech.utterance import SILENCE, Phone


class Mouth(NamedTuple):
    """A mouth posture. `aperture` of the inner lips in [0, 1], `width` from -1 (rounded) to 1 (spread), `bite` of the
    lower lip under the upper teeth, `teeth` and `tongue` seen, each in [0, 1]; `dominance` over the neighbours."""

    aperture: float
    width: float
    bite: float
    teeth: float
    tongue: float
    dominance: float


CURVES = ("aperture", "width", "bite", "teeth", "tongue")

_SHUT_BELOW, _OPEN_ABOVE = 0.06, 0.2
"""Apertures: shut lips touch where they are drawn; the other is any vowel's."""
_SOON_FRAMES = 5

REST = Mouth(0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
_BILABIAL = Mouth(0.0, -0.05, 0.0, 0.0, 0.0, 3.0)
_LABIODENTAL = Mouth(0.07, 0.05, 1.0, 0.5, 0.0, 2.0)
_DENTAL = Mouth(0.20, 0.10, 0.0, 0.5, 0.8, 1.0)
_ALVEOLAR = Mouth(0.20, 0.15, 0.0, 0.5, 0.3, 0.7)
_SIBILANT = Mouth(0.13, 0.35, 0.0, 0.9, 0.0, 1.3)
_POSTALVEOLAR = Mouth(0.17, -0.55, 0.0, 0.8, 0.0, 1.3)
_VELAR = Mouth(0.28, 0.05, 0.0, 0.3, 0.1, 0.5)
_GLOTTAL = Mouth(0.34, 0.0, 0.0, 0.3, 0.1, 0.3)
_LATERAL = Mouth(0.30, 0.10, 0.0, 0.4, 0.8, 0.7)
_RHOTIC = Mouth(0.24, -0.40, 0.0, 0.3, 0.1, 0.9)
_LABIOVELAR = Mouth(0.12, -0.90, 0.0, 0.0, 0.0, 1.8)
_PALATAL = Mouth(0.20, 0.40, 0.0, 0.6, 0.1, 0.8)

_OPEN = Mouth(1.0, 0.05, 0.0, 0.4, 0.2, 1.2)
_NEAR_OPEN = Mouth(0.85, 0.40, 0.0, 0.6, 0.2, 1.2)
_OPEN_MID = Mouth(0.66, 0.25, 0.0, 0.5, 0.2, 1.1)
_OPEN_MID_ROUND = Mouth(0.70, -0.50, 0.0, 0.3, 0.1, 1.2)
_MID = Mouth(0.50, 0.30, 0.0, 0.5, 0.2, 1.1)
_MID_CENTRAL = Mouth(0.45, 0.0, 0.0, 0.4, 0.2, 0.8)
_MID_ROUND = Mouth(0.45, -0.70, 0.0, 0.1, 0.1, 1.2)
_CLOSE_FRONT = Mouth(0.28, 0.60, 0.0, 0.7, 0.1, 1.2)
_NEAR_CLOSE = Mouth(0.36, 0.35, 0.0, 0.6, 0.2, 1.0)
_CLOSE_ROUND = Mouth(0.18, -0.90, 0.0, 0.0, 0.0, 1.4)
_NEAR_CLOSE_ROUND = Mouth(0.30, -0.55, 0.0, 0.1, 0.1, 1.0)
_R_COLOURED = Mouth(0.38, -0.35, 0.0, 0.3, 0.1, 1.1)

_TARGETS: dict[str, Mouth] = {
    ipa: mouth
    for symbols, mouth in (
        ("pbmɓ", _BILABIAL),
        ("fvʋɱ", _LABIODENTAL),
        ("θð", _DENTAL),
        ("tdnɾʈɖɳɗȵ", _ALVEOLAR),
        ("szʦʣ", _SIBILANT),
        ("ʃʒʂʐɕʑɧ", _POSTALVEOLAR),
        ("kɡgŋxɣqχʁɢɴçʝ", _VELAR),
        ("hɦʔħʕ", _GLOTTAL),
        ("lɫɭʎɬ", _LATERAL),
        ("rɹɻʀɽ", _RHOTIC),
        ("wʍɥβɸ", _LABIOVELAR),
        ("jɲɟc", _PALATAL),
        ("aɑɐäɶ", _OPEN),
        ("æ", _NEAR_OPEN),
        ("ɛʌɜœɞ", _OPEN_MID),
        ("ɔɒ", _OPEN_MID_ROUND),
        ("e", _MID),
        ("əɘᵻ", _MID_CENTRAL),
        ("oøɤɵ", _MID_ROUND),
        ("iɨ", _CLOSE_FRONT),
        ("ɪ", _NEAR_CLOSE),
        ("uyɯʉ", _CLOSE_ROUND),
        ("ʊʏ", _NEAR_CLOSE_ROUND),
        ("ɚɝ", _R_COLOURED),
    )
    for ipa in symbols
}

_VOWELS = frozenset(mouth for symbol, mouth in _TARGETS.items() if symbol in "aɑɐäɶæɛʌɜœɞɔɒeəɘᵻoøɤɵiɨɪuyɯʉʊʏɚɝ")

_SHORT_PAUSE_S = 0.03
# How postures win over their neighbours. Lips meet on every bilabial, however short, and vowels reach into each other.
_DOMINANCE_OF_BILABIALS, _DOMINANCE_OF_LABIODENTALS = 40.0, 6.0
_REACH, _REACH_OF_VOWELS = 0.45, 0.7
"""The deviation of a posture's dominance over its length."""
_LEAST_S, _LEAST_CLOSURE_S = 0.022, 0.03


def mouth_targets(ipa: str) -> list[Mouth]:
    """The postures of one phone in order: one, two for a diphthong or an affricate, [REST] for a pause.

    Length marks, tones and other diacritics say nothing about the lips and are passed over.
    """
    if ipa.startswith("("):
        return [REST]
    return [_TARGETS[symbol] for symbol in ipa if symbol in _TARGETS] or [REST]


def mouth_curves(phones: tuple[Phone, ...], times_s: np.ndarray) -> np.ndarray:
    """The curves of `CURVES` at `times_s` [n], as float32 [n, 5]."""
    centres, widths, targets = _segments(phones)
    distance = (times_s[:, None] - centres) / widths
    dominance = targets[:, 5] * np.exp(-0.5 * distance**2) + 1e-9
    return ((dominance @ targets[:, :5]) / dominance.sum(axis=1, keepdims=True)).astype(np.float32)


def _segments(phones: tuple[Phone, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    centres, widths, targets = [], [], []
    for phone in phones:
        length = phone.end_s - phone.start_s
        if phone.ipa == SILENCE and length < _SHORT_PAUSE_S:
            continue
        postures = mouth_targets(phone.ipa)
        share = length / len(postures)
        # A long phone, a pause above all, is a chain of shorter ones: a single Gaussian would lose its ends.
        pieces = max(1, round(share / 0.12))
        for index, posture in enumerate(postures):
            for piece in range(pieces):
                centres.append(phone.start_s + share * index + share * (piece + 0.5) / pieces)
                widths.append(_deviation_s(posture, share / pieces))
                targets.append(posture._replace(dominance=_dominance(posture)))
    return np.array(centres), np.array(widths), np.array(targets)


def _deviation_s(posture: Mouth, length_s: float) -> float:
    reach = _REACH_OF_VOWELS if posture in _VOWELS else _REACH
    return max(reach * length_s, _LEAST_CLOSURE_S if posture == _BILABIAL else _LEAST_S)


def _dominance(posture: Mouth) -> float:
    firm = {_BILABIAL: _DOMINANCE_OF_BILABIALS, _LABIODENTAL: _DOMINANCE_OF_LABIODENTALS}
    return firm.get(posture, posture.dominance)


def closures(aperture: np.ndarray) -> np.ndarray:
    """Frames [F] in which the lips of `aperture` [F] are shut and the mouth is open within 0.2 s: not pauses."""
    opens_soon = maximum_filter1d(aperture, 2 * _SOON_FRAMES + 1) > _OPEN_ABOVE
    return np.asarray((aperture < _SHUT_BELOW) & opens_soon)
