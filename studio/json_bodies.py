"""JSON that comes over the net: no longer than it may be, no deeper than can be read, and text that can be written.

What is wrong is a UserError in one line. Knows nothing about what the values mean.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from engine.contract.errors import UserError

DEEPEST = 100
"""Levels of lists and objects inside each other; what the page sends has fewer than ten."""
BIGGEST_WHOLE = 2**63
"""Whole numbers beyond it fit no database."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class TooLong(UserError):
    """More was sent than is taken."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body of a request. Raises TooLong as soon as it is longer than `limit` bytes."""
    body = bytearray()
    while True:
        message = await receive()
        body.extend(message.get("body", b""))
        if len(body) > limit:
            raise TooLong(f"That is too long: at most {limit // 1024} kB can be sent here.")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return bytes(body)


def replayed(body: bytes, receive: Receive) -> Receive:
    """What gives `body` once more to whoever reads it next, and then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def read_json(body: bytes) -> Any:
    """The values in `body`. Raises UserError where it is no JSON, or holds what nothing behind it can keep."""
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise UserError("What was sent is not JSON that can be read.") from None
    for each in walk(value):
        if isinstance(each, str):
            try:
                each.encode()
            except UnicodeEncodeError:
                raise UserError("A text holds half of a character; write it anew.") from None
        elif isinstance(each, int) and abs(each) >= BIGGEST_WHOLE:
            raise UserError(f"{str(each)[:40]} is too big a number.")
    return value


def walk(value: Any) -> Iterator[Any]:
    """Every value inside `value`, keys too. Raises UserError where they lie deeper inside each other than `DEEPEST`."""
    level = [value]
    for _ in range(DEEPEST):
        yield from level
        inside: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inside += [*each, *each.values()]
            elif isinstance(each, list):
                inside += each
        if not inside:
            return
        level = inside
    raise UserError(f"Lists or objects lie more than {DEEPEST} deep inside each other.")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
