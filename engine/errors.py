"""What goes wrong because of the user's input, and how it is said.

A `UserError` is one sentence that names what was wrong, the value, the limit and what to do. The command line prints
it as one line on stderr and exits with 2; the page shows it beside `field`. Anything else that is raised is our fault.
"""


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
