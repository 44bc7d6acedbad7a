"""Gradio's picture input, changed to hand over the file as it was uploaded.

The stock input decodes a picture on the way in, and fails with its own words on one that is broken or that Pillow alone
cannot read. The engine reads files itself, and says what is wrong with them beside the field. (The sound input with
`type="filepath"` hands over the untouched file already. Changed on the instance: Gradio writes a stub file into the
source folder for every subclass of a component.)
"""

from typing import Any

import gradio as gr


def picture_file(**options: Any) -> gr.Image:
    """A picture input whose value is the path of the untouched upload, or None."""
    picture = gr.Image(type="filepath", **options)
    picture.preprocess = _uploaded_path  # type: ignore[method-assign]
    return picture


def _uploaded_path(payload: Any) -> str | None:
    return payload.path if payload else None
