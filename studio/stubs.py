"""Keep Gradio from writing editor stubs: beside each of its own components at every start, and into our source folder.

Must be imported before Gradio is, and does not import it. Gradio writes none for a component whose source file cannot
be found. Its own take 1.7 of the 3.7 s of its import.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def no_stub_files() -> Iterator[None]:
    """Component classes that are made inside the block have no source file as far as `inspect` can tell."""
    find_file = inspect.getfile

    def find_no_component(thing: Any) -> str:
        if type(thing).__name__ == "ComponentMeta":
            raise OSError
        return find_file(thing)

    inspect.getfile = find_no_component  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = find_file
