"""What goes wrong because of the user's input, and how it is said.

A `UserError` is one sentence that names what was wrong, the value, the limit and what to do. The command line prints
it as one line on stderr and exits with 2; the page shows it beside `field`. Anything else that is raised is our fault.
"""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """The user's input is wrong. `field` names the request field it belongs to ("image", "sampling.steps"), or None."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class FaceNotFound(UserError):
    """No face in the picture where one is needed."""


class Cancelled(Exception):
    """The user asked the running job to stop. Raised by a progress callback, passed on by everything below it."""


class StopEarly(Exception):
    """The user wants what is there so far. Raised by a progress callback while a clip is sampled; nothing is lost."""


class NotFinite(ArithmeticError):
    """The model's numbers overflowed, as half precision can."""


@contextmanager
def full_disk_said(folder: Path, field: str) -> Iterator[None]:
    """A disk that fills up, or a limit on it, as a UserError(field); whatever the library that met it raises."""
    try:
        yield
    except Exception as error:
        # Libraries in other languages put the number into words.
        numbers = {getattr(error, "errno", None), *map(int, re.findall(r"os error (\d+)", str(error)))}
        if numbers.isdisjoint({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}):
            raise
        free_mb = shutil.disk_usage(folder).free / 1e6
        raise UserError(
            f"The disk of {folder} is full ({free_mb:.0f} MB free), or a limit on it is reached: make room, or write "
            f"elsewhere with --{field}.",
            field,
        ) from error
