"""The Library tab: everything that a visitor asked for, found by word, task and state, with what it takes on disk.

Knows jobs and the store. What "open" and "use settings" do belongs to the generation tabs, which are handed the job.
"""

import gradio as gr

from engine.contract.variants import TASK_INFO
from studio import job_views
from studio.job_rows import Job
from studio.service import Studio
from studio.tabs.events import QUIET, Updates
from studio.tabs.result import JOB_LIST
from studio.visitors import owner_of
from studio.words import label

MOST_ROWS = 200
EVERY = ""


class LibraryTab:
    """Draws the tab where it is made."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        with gr.Column(elem_classes="em-card"):
            with gr.Row(elem_classes="em-settings"):
                self._words = gr.Textbox(
                    label=label("Find"), placeholder=label("Words of the prompt, a file name, a seed"), elem_id="find"
                )
                self._task = gr.Dropdown(
                    choices=[
                        (label("Every task"), EVERY),
                        *((label(info.title), task) for task, info in TASK_INFO.items()),
                    ],
                    value=EVERY,
                    label=label("Task"),
                )
                self._state = gr.Dropdown(
                    choices=[
                        (label("Every state"), EVERY),
                        *((label(words), state) for state, words in job_views.STATE_WORDS.items()),
                    ],
                    value=EVERY,
                    label=label("State"),
                )
            self.disk = gr.HTML(apply_default_css=False)
            self.list = gr.HTML(apply_default_css=False, js_on_load=JOB_LIST, elem_id="library-list")
        self.filters = [self._words, self._task, self._state]
        gr.on(
            [self._words.change, self._task.input, self._state.input],
            self.show,
            self.filters,
            self.outputs,
            trigger_mode="multiple",
            **QUIET,
        )

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """Every component that `show` changes."""
        return [self.disk, self.list]

    def show(self, request: gr.Request, words: str = "", task: str = EVERY, state: str = EVERY) -> Updates:
        """The visitor's jobs that the filters leave."""
        owner = owner_of(request)
        jobs = self._studio.store.recent(owner, limit=MOST_ROWS)
        found = [job for job in jobs if _matches(job, words, task, state)]
        return {
            self.disk: job_views.disk_use(
                len(jobs), self._studio.store.bytes_used(owner), self._studio.speakers.bytes_used(owner)
            ),
            self.list: job_views.library_list(found),
        }


def _matches(job: Job, words: str, task: str, state: str) -> bool:
    if (task and job.request["task"] != task) or (state and job.state != state):
        return False
    said = " ".join(str(job.request.get(name) or "") for name in ("prompt", "image", "audio", "video", "seed", "task"))
    return all(word in said.lower() for word in words.lower().split())
