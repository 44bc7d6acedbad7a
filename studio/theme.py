"""The page's looks: paper and pine, the reader's own serif for headings. Colours live here; `studio.css` names them.

The text font is a file that Gradio carries (one of those that hold the Latin letters; several hold a subset without
them), so the page never asks another host for anything.
"""

from pathlib import Path

import gradio as gr
from gradio.themes.utils.colors import Color
from gradio.themes.utils.fonts import LocalFont

CSS_PATH = Path(__file__).parent / "studio.css"
FAVICON_PATH = Path(__file__).parent / "favicon.svg"

PINE = Color(
    name="pine",
    c50="#eef6f3",
    c100="#d6e9e2",
    c200="#aed4c7",
    c300="#7fb9a8",
    c400="#4f9a86",
    c500="#2c7d69",
    c600="#1d6455",
    c700="#175045",
    c800="#133f37",
    c900="#0f312b",
    c950="#081c19",
)
PAPER = Color(
    name="paper",
    c50="#faf8f4",
    c100="#f3f0e9",
    c200="#e5e0d5",
    c300="#cfc8b9",
    c400="#a39c8e",
    c500="#777165",
    c600="#57534a",
    c700="#3b3a35",
    c800="#252725",
    c900="#1a1d1c",
    c950="#121514",
)


def make_theme() -> gr.themes.Base:
    """The theme, light and dark."""
    fallbacks = ("ui-sans-serif", "system-ui", "sans-serif")
    theme = gr.themes.Base(
        primary_hue=PINE,
        secondary_hue=PINE,
        neutral_hue=PAPER,
        radius_size=gr.themes.sizes.radius_lg,
        font=(LocalFont("Source Sans Pro", weights=(400, 700)), *fallbacks),
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )
    return theme.set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_800",
        body_text_color_dark="*neutral_200",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_background_fill="#fffefb",
        block_background_fill_dark="*neutral_900",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_color="*neutral_500",
        block_label_text_color_dark="*neutral_400",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        block_title_text_weight="600",
        block_shadow="none",
        block_shadow_dark="none",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_950",
        input_border_color="*neutral_200",
        input_border_color_dark="*neutral_700",
        input_border_color_focus="*primary_400",
        input_border_color_focus_dark="*primary_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_400",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_secondary_background_fill="*neutral_200",
        button_secondary_background_fill_hover="*neutral_300",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        slider_color="*primary_500",
        slider_color_dark="*primary_400",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*primary_500",
    )
