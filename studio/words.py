"""The page's two languages. The English words are the keys; `words_zh.json` holds the Chinese ones.

Labels of components are translated by Gradio in the browser (`label`); HTML that we draw is translated here (`tr`), in
the language that the browser asks for. What the engine says, errors and notices, stays English.
"""

import json
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gradio as gr

ENGLISH, CHINESE = "en", "zh-CN"
CHINESE_WORDS: dict[str, str] = json.loads(Path(__file__).with_name("words_zh.json").read_text(encoding="utf-8"))
I18N = gr.I18n(**{ENGLISH: {key: key for key in CHINESE_WORDS}, CHINESE: CHINESE_WORDS, "zh": CHINESE_WORDS})
LANGUAGE: ContextVar[str] = ContextVar("language", default=ENGLISH)
"""Of the request that is being answered; `studio.visitors` sets it."""


def preferred_language(accept: str) -> str:
    """The page's language for an Accept-Language header: the first one that we have, else English."""
    for item in accept.split(","):
        tag = item.partition(";")[0].strip().lower()
        if tag.startswith("zh"):
            return CHINESE
        if tag.startswith("en"):
            return ENGLISH
    return ENGLISH


def tr(words: str, **values: Any) -> str:
    """`words` in the request's language, `values` put in where they name them."""
    shown = CHINESE_WORDS.get(words, words) if LANGUAGE.get() == CHINESE else words
    return shown.format(**values) if values else shown


def label(words: str | None) -> Any:
    """`words` for a component's label, translated in the browser; words that have no translation stay as they are."""
    return I18N(words) if words in CHINESE_WORDS else words
