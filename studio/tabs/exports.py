"""Taking a finished video away: its shape, its captions, its format; the files are its job's, and go with it."""

import threading
import time

import gradio as gr

from engine.contract.errors import UserError
from engine.contract.export import MOST_LETTERS, RATIOS, checked_export
from studio import views
from studio.job_rows import Job
from studio.service import Studio
from studio.tabs.events import PAGE_ONLY, Updates, error, no_error
from studio.visitors import owner_of, result_url
from studio.words import label, tr

FORMATS = ("mp4", "gif")
SHOW_WHAT_CAME = """() => document.querySelector("#export-files a, #error-export p")
    ?.scrollIntoView({ behavior: "smooth", block: "nearest" })"""
"""The column may be longer than the window."""
_ONE_AT_A_TIME = threading.Lock()
"""An export takes a core for many seconds; two at once only wait for each other."""


class ExportPanel:
    """Draws the fold where it is made; `job_id` is the followed job."""

    def __init__(self, studio: Studio, job_id: gr.Textbox) -> None:
        self._studio = studio
        with gr.Accordion(label("Take it away"), open=False, visible=False, elem_id="export") as self.fold:
            self._shape = gr.Radio(
                [(label(shape), shape) for shape in RATIOS], value="9:16", label=label("Shape"), elem_id="export-shape"
            )
            self._captions = gr.Textbox(
                label=label("Captions"),
                info=label("The words that are said; written into the picture and beside it (.vtt, .srt)."),
                lines=2,
                max_length=MOST_LETTERS,
                elem_id="export-captions",
            )
            with gr.Row(elem_classes="em-line"):
                self._format = gr.Radio(list(FORMATS), value="mp4", label=label("Format"), elem_id="export-format")
                button = gr.Button(label("Export"), size="sm", scale=0, elem_id="export-button")
            self._error = views.field_error("export")
            self._files = views.drawn(visible=False, elem_id="export-files")
        button.click(
            self._export,
            [job_id, self._shape, self._captions, self._format],
            [self._files, self._error],
            show_progress="minimal",
            show_progress_on=button,
            **PAGE_ONLY,
        ).then(None, None, None, js=SHOW_WHAT_CAME)

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """What `show` changes."""
        return [self.fold, self._files, self._error]

    def show(self, job: Job | None) -> Updates:
        """Offered where there is a video; what was exported of another is not shown any more."""
        there = job is not None and self._studio.store.result_of(job) is not None
        return {
            self.fold: gr.Accordion(visible=there),
            self._files: gr.update(value="", visible=False),
            self._error: no_error(),
        }

    def _export(self, request: gr.Request, job_id: str, shape: str, captions: str, format: str) -> Updates:
        job = self._studio.store.find(job_id, owner_of(request)) if job_id else None
        video = self._studio.store.result_of(job) if job else None
        if job is None or video is None:
            return {self._error: error(tr("The video is gone; make it again first."))}
        if not _ONE_AT_A_TIME.acquire(timeout=0.1):
            return {self._error: error(tr("Another video is being exported; try again in a moment."))}
        try:
            wanted = checked_export({"shape": shape, "captions": captions or "", "format": format})
            name = f"export-{video.stem}-{wanted.shape.replace(':', 'x').replace(' ', '-')}.{wanted.format}"
            files = self._studio.ports.export(video, video.with_name(name), wanted)
        except UserError as wrong:
            return {self._error: error(wrong.message)}
        finally:
            _ONE_AT_A_TIME.release()
        # Another export may have the same name, and browsers keep what they fetched.
        made = round(1000 * time.time())
        links = [(path.name.removeprefix("export-"), f"{result_url(job.id, path.name)}?{made}") for path in files]
        return {self._files: gr.update(value=views.downloads(links), visible=True), self._error: no_error()}
