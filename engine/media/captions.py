"""Words that are spoken, cut into lines and laid over the time in which the voice speaks; as WebVTT and SubRip.

The words are given, not recognised: each takes its share of the voiced time by its letters. Knows nothing about
pictures.
"""

import re
from dataclasses import dataclass

import numpy as np

from engine.media.audio import SAMPLE_RATE_HZ

LINE_LETTERS = 34
STEP_S = 0.02
VOICED = 0.12
"""Of the loud parts' RMS: below it the voice pauses."""
LEAST_S = 0.6


@dataclass(frozen=True)
class Caption:
    """A line of at most LINE_LETTERS letters (a longer word stands alone), shown from `start_s` to `stop_s`."""

    start_s: float
    stop_s: float
    text: str


def lay_captions(words: str, wave: np.ndarray) -> list[Caption]:
    """`words` over the voice `wave`, float32 [n] at 16 kHz; no captions where there are no words."""
    lines = _lines(words)
    if not lines:
        return []
    duration_s = len(wave) / SAMPLE_RATE_HZ
    spoken = _spoken(wave)  # share of the speech that is over at the end of each step
    ends = np.cumsum([len(line) for line in lines]) / sum(map(len, lines))
    times = np.concatenate([[0.0], (np.arange(len(spoken)) + 1) * STEP_S])
    share = np.concatenate([[0.0], spoken])
    marks_s = np.minimum(np.interp(np.concatenate([[0.0], ends]), share, times), duration_s)
    first = int(np.argmax(share > 0))
    marks_s[0] = max(0.0, times[first] - STEP_S)
    # No line is gone before it can be seen, and none is pushed out behind the end.
    marks_s[0] = min(marks_s[0], max(0.0, duration_s - LEAST_S * len(lines)))
    least_s = min(LEAST_S, (duration_s - marks_s[0]) / len(lines))
    for index in range(1, len(marks_s)):
        soonest_s, latest_s = marks_s[index - 1] + least_s, duration_s - least_s * (len(lines) - index)
        marks_s[index] = min(max(marks_s[index], soonest_s), latest_s)
    return [
        Caption(float(start), float(stop), line)
        for line, start, stop in zip(lines, marks_s[:-1], marks_s[1:], strict=True)
    ]


def as_vtt(captions: list[Caption]) -> str:
    """A WebVTT file."""
    cues = [f"{_clock(c.start_s, '.')} --> {_clock(c.stop_s, '.')}\n{_plain(c.text)}\n" for c in captions]
    return "WEBVTT\n\n" + "\n".join(cues)


def as_srt(captions: list[Caption]) -> str:
    """A SubRip file."""
    cues = [
        f"{number}\n{_clock(c.start_s, ',')} --> {_clock(c.stop_s, ',')}\n{c.text}\n"
        for number, c in enumerate(captions, 1)
    ]
    return "\n".join(cues)


def _lines(words: str) -> list[str]:
    lines: list[str] = []
    # Scripts without spaces are cut between letters.
    for piece in re.findall(r"[^\s⺀-鿿぀-ヿ가-힯＀-￯]+|[⺀-鿿぀-ヿ가-힯＀-￯][、-〃，。！？；：]?", words):
        wide = ord(piece[0]) >= 0x2E80
        joined = (lines[-1] + ("" if wide else " ") + piece) if lines else piece
        most = LINE_LETTERS // 2 if wide else LINE_LETTERS
        ended = bool(lines) and lines[-1][-1] in ".!?。！？" and len(lines[-1]) > most // 2
        if lines and len(joined) <= most and not ended:
            lines[-1] = joined
        else:
            lines.append(piece)
    return lines


def _spoken(wave: np.ndarray) -> np.ndarray:
    step = round(STEP_S * SAMPLE_RATE_HZ)
    steps = max(1, len(wave) // step)
    padded = np.pad(wave, (0, max(0, steps * step - len(wave))))[: steps * step]
    rms = np.sqrt((padded.reshape(steps, step).astype(np.float64) ** 2).mean(1))
    voiced = (rms > VOICED * np.percentile(rms, 95)) & (rms > 1e-4)
    counted = voiced.astype(float) if voiced.any() else np.ones(steps)
    return np.cumsum(counted) / counted.sum()


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _plain(text: str) -> str:
    """Of WebVTT, which knows markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
