"""The page: header, tabs, and how it is launched. Everything on it is built from the service and the task descriptions.

Knows nothing about models or tensors; it is drawn before any of them is imported.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from engine.contract.variants import TASK_INFO, TASKS, Task
from studio import mcp_tools, views
from studio.examples import Examples
from studio.front_door import FrontDoor
from studio.identity import Network
from studio.review.desk import ReviewDesk
from studio.review.routes import ReviewRoutes
from studio.service import Studio
from studio.tabs.endpoints import add_endpoint
from studio.tabs.events import QUIET, Updates
from studio.tabs.generate import TASK_TITLES, Workspace
from studio.tabs.library import LibraryTab
from studio.tabs.review import REVIEW_CSS_PATH, ReviewTab
from studio.theme import CSS_PATH, FAVICON_PATH, make_theme
from studio.visitors import VisitorGate, owner_of
from studio.words import ENGLISH, I18N, LANGUAGE, label, tr

TITLE = "EchoMimic Studio"
TAGLINE = "A portrait and a voice become a talking video."
READINESS_EVERY_S = 1.5
MAX_UPLOAD = "500mb"
SCRIPTS = sorted((Path(__file__).parent / "page").glob("*.js"), key=lambda path: (path.stem != "picture", path.stem))
"""What runs in the browser; picture.js makes the name that the others share."""


def build_page(studio: Studio, examples: Examples, review: ReviewDesk) -> gr.Blocks:
    """The whole page, ready to launch."""
    gr.set_static_paths([str(path) for path in (*examples.portraits, *examples.voices)])
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        with gr.Row(elem_classes="em-top"):
            views.said(lambda: views.header(TITLE, tr(TAGLINE)))
            pill = views.drawn(elem_id="readiness")
        views.said(_lost, elem_id="connection")
        with gr.Tabs(elem_id="tabs") as tabs:
            task_tabs = {}
            for task in TASKS:
                with gr.Tab(label(TASK_TITLES[task]), id=task) as task_tabs[task]:
                    views.said(partial(_task_caption, task))
            with gr.Tab(label("Library"), id="library") as library_tab:
                library = LibraryTab(studio)
            with gr.Tab(label("Review"), id="review") as review_tab:
                labels = ReviewTab(review, examples)
        workspace = Workspace(studio, examples, tabs)
        labels.offer_trained(workspace.task, workspace.form)
        for task, tab in task_tabs.items():
            tab.select(
                partial(_choose, workspace, task),
                workspace.form.model,
                [workspace.columns, workspace.task, *workspace.form.outputs],
                **QUIET,
            )
        hide = {workspace.columns: gr.Row(visible=False)}
        for tab in (library_tab, review_tab):
            tab.select(lambda: hide, None, [workspace.columns], **QUIET)
        _connect_library(page, library_tab, library, workspace)
        for task in TASKS:
            add_endpoint(task, studio)
        _connect_load(page, studio, workspace, pill)
    return page


def _lost() -> str:
    """Shown by page/connection.js while it waits."""
    return views.notice(tr("The connection is lost. Jobs go on; the page does too, as soon as the studio answers."))


def _task_caption(task: Task) -> str:
    return f"<p class='em-caption'>{tr(TASK_INFO[task].description)}</p>"


def launch_options(
    studio: Studio,
    review: ReviewDesk,
    *,
    names: Iterable[str] | None = None,
    proxies: Sequence[Network] = (),
) -> dict[str, Any]:
    """What every launch of the page needs, wherever it runs; the host, port and logins are the caller's.

    `names` are the host names that it answers to, None is any; `proxies` those whose word about addresses counts.
    """
    mcp_tools.install()
    routes = ReviewRoutes(review.store, review.clips, review.collector.waiting, tr).mount()
    door = Middleware(FrontDoor, names=names)
    gate = Middleware(VisitorGate, store=studio.store, uploads=Path(get_upload_folder()), proxies=proxies)
    return {
        "theme": make_theme(),
        "css_paths": [CSS_PATH, REVIEW_CSS_PATH],
        "favicon_path": FAVICON_PATH,
        "head": f"<script>{''.join(path.read_text(encoding='utf-8') for path in SCRIPTS)}</script>",
        "i18n": I18N,
        # Lets a job's inputs be copied back into the form; the gate keeps the folder from being served.
        "allowed_paths": [str(studio.store.files)],
        "app_kwargs": {"middleware": [door, gate], "routes": [routes]},
        "max_file_size": MAX_UPLOAD,
        "footer_links": ["api", "settings"],
        "run_history": False,
        "ssr_mode": False,
        "mcp_server": True,
        "enable_monitoring": False,
    }


def _choose(workspace: Workspace, task: Task, model: str) -> Updates:
    return {workspace.columns: gr.Row(visible=True), **workspace.choose_task(task, model)}


def _connect_library(page: gr.Blocks, tab: gr.Tab, library: LibraryTab, workspace: Workspace) -> None:
    tab.select(library.show, library.filters, library.outputs, **QUIET)

    def act(request: gr.Request, event: gr.EventData) -> Updates:
        updates = workspace.open(owner_of(request), event.job, event.act)
        if event.act in ("open", "reuse", "edit", "again"):
            updates |= {workspace.columns: gr.Row(visible=True)}
        return updates | library.show(request)

    outputs = [workspace.columns, *workspace.everything, *library.outputs]
    library.list.act(act, None, outputs, **QUIET)


def _connect_load(page: gr.Blocks, studio: Studio, workspace: Workspace, pill: gr.HTML) -> None:
    words = views.translations(page)
    curves, chips = workspace.form.live.curves, workspace.form.chips

    def load(request: gr.Request) -> Updates:
        updates: Updates = {} if LANGUAGE.get() == ENGLISH else {piece: make() for piece, make in words.items()}
        if LANGUAGE.get() != ENGLISH:
            updates[workspace.result.status] = views.empty_result()
            updates[curves] = workspace.form.live.value(studio.variant.default_settings)
            updates |= {
                place: gr.Dataset(samples=[[tr(said)] for said in words]) for place, words in chips.items() if words
            }
        return updates | workspace.attach(request) or gr.skip()

    page.load(load, None, list(dict.fromkeys([*words, *chips, curves, *workspace.everything])), **QUIET)
    clock = gr.Timer(READINESS_EVERY_S)
    for event in (page.load, clock.tick):
        event(lambda: (_pill(studio), gr.Timer(active=not _settled(studio))), None, [pill, clock], **QUIET)


def _pill(studio: Studio) -> str:
    return views.readiness_pill(studio.variant.title.split(" (")[0], studio.ports.readiness())


def _settled(studio: Studio) -> bool:
    readiness = studio.ports.readiness()
    return readiness.ready or readiness.failure is not None
