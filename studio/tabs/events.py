"""What the events of the page have in common: how they are sent, and what they return."""

from typing import Any

import gradio as gr

from studio import views

Updates = dict[Any, Any]
"""Component → its new value or update, as Gradio's event functions return it."""
ONCE_HEADER = "X-Once"
"""A number of its own, with which page/connection.js sends an event as often as it takes to arrive."""
PAGE_ONLY: dict[str, Any] = {"queue": False, "api_visibility": "private"}
"""Events of the page itself: answered at once, not offered to API callers."""
QUIET: dict[str, Any] = PAGE_ONLY | {"show_progress": "hidden"}


def error(message: str) -> dict[str, Any]:
    """Show `message` in a field's error line."""
    return gr.update(value=views.error_line(message), visible=True)


def no_error() -> dict[str, Any]:
    """Clear a field's error line."""
    return gr.update(value="", visible=False)
