"""Generation on Hugging Face's ZeroGPU, which lends a GPU to a forked process while a decorated function runs.

Nothing but what can be pickled crosses to that process: the request goes there, progress comes back as it is yielded.
So a job can be stopped there, but not tuned, resumed or ended early. Without ZeroGPU the engine's own callable is used.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.contract.progress import Progress, ProgressCallback
from engine.contract.records import GenerationRecord
from engine.contract.request import GenerationRequest
from studio.ports import Generate, Live

ZERO_GPU_VARIABLE = "SPACES_ZERO_GPU"
LONGEST_S = 180
"""What a job asks ZeroGPU for, in seconds."""


def on_zero_gpu(generate: Generate) -> Generate:
    """`generate` as it is, or run on a lent GPU where there is ZeroGPU."""
    if not os.environ.get(ZERO_GPU_VARIABLE):
        return generate
    import spaces

    lent = spaces.GPU(duration=LONGEST_S)(streamed(generate))

    def generate_there(
        request: GenerationRequest,
        on_progress: ProgressCallback,
        *,
        live: Live | None = None,
        keep_latents: Path | None = None,
        resume_folder: Path | None = None,
    ) -> GenerationRecord:
        for said in lent(request, keep_latents):
            if isinstance(said, GenerationRecord):
                return said
            on_progress(said)
        raise RuntimeError("the lent GPU was taken away before the job was done")

    return generate_there


def streamed(
    generate: Generate,
) -> Callable[[GenerationRequest, Path | None], Iterator[Progress | GenerationRecord]]:
    """A generator function out of `generate`: yields its progress, then its record."""

    def stream(request: GenerationRequest, keep_latents: Path | None) -> Iterator[Progress | GenerationRecord]:
        said: queue.Queue[Progress | GenerationRecord | Exception] = queue.Queue()

        def run() -> None:
            try:
                said.put(generate(request, said.put, keep_latents=keep_latents))
            except Exception as error:  # raised again where it is waited for
                said.put(error)

        threading.Thread(target=run, daemon=True).start()
        while True:
            item = said.get()
            if isinstance(item, Exception):
                raise item
            yield item
            if isinstance(item, GenerationRecord):
                return

    return stream
