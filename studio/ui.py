"""The page: header, tabs, and how it is launched. Everything on it is built from the service and the task descriptions.

Knows nothing about models or tensors; it is drawn before any of them is imported.
"""

from typing import Any

import gradio as gr

from studio import views
from studio.examples import Examples
from studio.service import Studio
from studio.tabs.generate import TALKING_HEAD, GenerateTab
from studio.theme import CSS_PATH, FAVICON_PATH, make_theme

TITLE = "EchoMimic Studio"
TAGLINE = "A portrait and a voice become a talking video."
BROWSER_STORAGE_KEY = "echomimic-studio-owner"
READINESS_EVERY_S = 1.5
MAX_UPLOAD = "500mb"
DAY_S = 24 * 60 * 60


def build_page(studio: Studio, examples: Examples) -> gr.Blocks:
    """The whole page, ready to launch."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(DAY_S, DAY_S)) as page:
        # The stored value is only as secret as the browser's own storage; a fixed key lets it outlive a restart.
        owner = gr.BrowserState("", storage_key=BROWSER_STORAGE_KEY, secret=BROWSER_STORAGE_KEY)
        with gr.Row(elem_classes="em-top"):
            views.drawn(views.header(TITLE, TAGLINE))
            pill = views.drawn(elem_id="readiness")
        with gr.Tabs():
            for task_page in (TALKING_HEAD,):
                with gr.Tab(task_page.title, id=task_page.task):
                    tab = GenerateTab(task_page, studio, examples, owner)
                    page.load(
                        tab.attach,
                        owner,
                        tab.attach_outputs,
                        queue=False,
                        show_progress="hidden",
                        api_visibility="private",
                    )
        clock = gr.Timer(READINESS_EVERY_S)
        for event in (page.load, clock.tick):
            event(
                lambda: (_pill(studio), gr.Timer(active=not _settled(studio))),
                None,
                [pill, clock],
                queue=False,
                show_progress="hidden",
                api_visibility="private",
            )
    return page


def launch_options(studio: Studio) -> dict[str, Any]:
    """What every launch of the page needs, wherever it runs; the host, port and logins are the caller's."""
    return {
        "theme": make_theme(),
        "css_paths": CSS_PATH,
        "favicon_path": FAVICON_PATH,
        "allowed_paths": [str(studio.store.files)],
        "max_file_size": MAX_UPLOAD,
        "footer_links": ["api", "settings"],
        "run_history": False,
        "ssr_mode": False,
    }


def _pill(studio: Studio) -> str:
    return views.readiness_pill(studio.variant.title.split(" (")[0], studio.ports.readiness())


def _settled(studio: Studio) -> bool:
    readiness = studio.ports.readiness()
    return readiness.ready or readiness.failure is not None
