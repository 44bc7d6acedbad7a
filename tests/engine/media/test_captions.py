"""Captions follow the voice, whatever script they are in; the two files are what their formats ask for."""

from itertools import pairwise

import numpy as np
import pytest

from engine.media.captions import LINE_LETTERS, as_srt, as_vtt, lay_captions
from tests.conftest import voice_like

WORDS = "Good morning. Today we bake a loaf of bread that takes all night to rise, and it is worth the wait."


def test_lines_are_short_in_order_and_lose_no_word():
    lines = lay_captions(WORDS, voice_like(8.0))
    assert " ".join(line.text for line in lines) == WORDS
    assert all(len(line.text) <= LINE_LETTERS for line in lines)
    times = [moment for line in lines for moment in (line.start_s, line.stop_s)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= 8.0


def test_a_pause_belongs_to_no_new_line():
    wave = np.concatenate([np.zeros(32000, np.float32), voice_like(2.0), np.zeros(48000, np.float32), voice_like(2.0)])
    first, *_, last = lay_captions("The first sentence is said here. The second sentence comes after it.", wave)
    assert first.start_s == pytest.approx(2.0, abs=0.2)
    assert last.stop_s == pytest.approx(9.0, abs=0.2)
    assert 3.5 <= first.stop_s <= 7.5


@pytest.mark.parametrize(
    "words", ["你好，欢迎来到这里。我们今天一起烤面包，需要一整夜。", "日本語のテキストも切れます。はい、そうです。"]
)
def test_scripts_without_spaces_are_cut_too(words: str):
    lines = lay_captions(words, voice_like(6.0))
    assert "".join(line.text for line in lines) == words
    assert len(lines) > 1 and all(len(line.text) <= LINE_LETTERS // 2 + 1 for line in lines)


@pytest.mark.parametrize("lead_s", [0.0, 2.5])
@pytest.mark.parametrize("words", [WORDS, "好的。" * 12, "Yes. No. Perhaps so, who knows. Oh dear me, yes. " * 2])
def test_no_line_is_lost_however_little_time_there_is(words: str, lead_s: float):
    wave = np.concatenate([np.zeros(round(lead_s * 16000), np.float32), voice_like(0.7)])
    lines = lay_captions(words, wave)
    assert "".join(line.text for line in lines).replace(" ", "") == words.replace(" ", "")
    assert all(line.start_s < line.stop_s <= len(wave) / 16000 + 1e-6 for line in lines)
    assert all(before.stop_s == after.start_s for before, after in pairwise(lines))


@pytest.mark.parametrize("words", ["", "  \n "])
def test_no_words_are_no_captions(words: str):
    assert lay_captions(words, voice_like(1.0)) == []


def test_silence_shares_its_time_evenly():
    first, second = lay_captions("The first of two sentences. The other of two sentences.", np.zeros(64000, np.float32))
    assert first.stop_s == second.start_s == pytest.approx(2.0, abs=0.2)


def test_files_are_as_their_formats_ask():
    lines = lay_captions("Tom & <Jerry> run.", voice_like(2.0))
    vtt, srt = as_vtt(lines), as_srt(lines)
    assert vtt.startswith("WEBVTT\n\n00:00:0") and "Tom &amp; &lt;Jerry&gt; run." in vtt and " --> 00:00:0" in vtt
    assert srt.startswith("1\n00:00:0") and "Tom & <Jerry> run." in srt and ",000\n" in srt.replace(",999", ",000")
