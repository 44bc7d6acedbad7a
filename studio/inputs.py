"""Gradio's picture input, changed to hand over the file as it was uploaded.

The stock input decodes a picture on the way in, and fails with its own words on one that is broken or that Pillow alone
cannot read. The engine reads files itself, and says what is wrong with them beside the field. (The sound input with
`type="filepath"` hands over the untouched file already.)
"""

from typing import Any

import gradio as gr

from studio.stubs import no_stub_files

with no_stub_files():

    class PictureFile(gr.Image):
        """A picture input whose value is the path of the untouched upload, or None. Wants `type="filepath"`."""

        # The constructor is inherited as it is: Gradio reads a component's configuration off its signature.

        def get_block_name(self) -> str:
            """The stock component draws it."""
            return "image"

        def preprocess(self, payload: Any) -> str | None:
            """The uploaded file's path."""
            return payload.path if payload else None
