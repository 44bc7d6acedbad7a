"""What every request passes first: the name it asks for, a login where logins are asked for, and how much it may say.

With `--auth` everything is closed but the login and what its page is drawn from: a route that is new is closed too. A
wrong login makes its address wait, each one longer. The answer tells the browser what not to do with it. Knows nothing
about jobs or visitors.
"""

import asyncio
import ipaddress
import os
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse

from engine.contract.errors import UserError
from studio.json_bodies import TooLong, read_body, read_json, replayed
from studio.spaces import SPACE_VARIABLE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

JSON_BODY = "echomimic.json"
"""Where what was sent is left for those behind, once it is known to be JSON."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
OPEN = re.compile(
    r"/|/login/?|/logout|/theme\.css|/robots\.txt|/favicon\.ico|/manifest\.json|/pwa_icon(/.*)?|/config/?"
    r"|/(assets|static|svelte)/.*|/gradio_api/(login_check|user|startup-events|theme\.css)/?"
)
"""Paths that answer without a login: the login's own page. Gradio asks for it at /config by itself."""
MCP = "/gradio_api/mcp"
LONGEST_JSON = 4 * 2**20
LONGEST_MCP = 64 * 2**20
"""Bytes: an MCP call may bring its files inside it."""
FIRST_WAIT_S, LONGEST_WAIT_S, MOST_AHEAD_S = 0.25, 4.0, 20.0
FORGOTTEN_S = 900.0
MOST_ADDRESSES = 1000
OWN_FRAMES = "'self'"
SPACE_FRAMES = "'self' https://huggingface.co https://*.huggingface.co https://*.hf.space"


class FrontDoor:
    """ASGI middleware. `names` are the host names that the studio answers to; None is any."""

    def __init__(self, app: App, names: Iterable[str] | None = None) -> None:
        self._app = app
        self._names = None if names is None else {name.lower() for name in (*LOCAL_NAMES, *names)}
        self._logins = SlowLogins()
        self._on_a_space = bool(os.environ.get(SPACE_VARIABLE))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        send = _with_advice(SPACE_FRAMES if self._on_a_space else OWN_FRAMES, send)
        if not self._answers_to(headers.get("host", "")):
            message = "This studio does not answer to that name; start it with --public-name NAME if it is its own."
            await _refuse(421, message)(scope, receive, send)
        elif "\0" in path:
            await _refuse(404, "Not found")(scope, receive, send)
        elif not (OPEN.fullmatch(path) or is_logged_in(scope, headers)):
            await _refuse(401, "Log in first.")(scope, receive, send)
        elif path.rstrip("/") == "/login" and scope["method"] == "POST":
            await self._log_in(scope, receive, send)
        elif headers.get("content-type", "").startswith("application/json") and scope["method"] == "POST":
            await self._with_json(LONGEST_MCP if path.startswith(MCP) else LONGEST_JSON, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _with_json(self, limit: int, scope: Message, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, limit)
            scope[JSON_BODY] = read_json(body) if body else None
        except UserError as error:
            await _refuse(413 if isinstance(error, TooLong) else 400, error.message)(scope, receive, send)
            return
        await self._app(scope, replayed(body, receive), send)

    async def _log_in(self, scope: Message, receive: Receive, send: Send) -> None:
        address = scope["client"][0] if scope.get("client") else ""
        wait_s = self._logins.wait_s(address)
        if wait_s > MOST_AHEAD_S:
            await _refuse(429, "Too many wrong logins; wait a minute.")(scope, receive, send)
            return
        await asyncio.sleep(wait_s)

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                (self._logins.wrong if message["status"] == 400 else self._logins.right)(address)
            await send(message)

        await self._app(scope, receive, watch)

    def _answers_to(self, host: str) -> bool:
        """An address in numbers cannot be somebody else's name for this machine."""
        name = host.lower()
        name = name[: name.index("]") + 1] if name.startswith("[") and "]" in name else name.partition(":")[0]
        return self._names is None or name in self._names or _is_address(name.strip("[]"))


class SlowLogins:
    """When an address may try its next login: every wrong one makes the next wait longer, one after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: dict[str, tuple[int, float]] = {}
        """Address → how many wrong logins, and when the next may be answered."""

    def wait_s(self, address: str) -> float:
        """How long an attempt made now has to wait; the one after it waits behind it."""
        count, free_s = self._wrong.get(address, (0, 0.0))
        now_s = self._clock()
        if not count or now_s - free_s > FORGOTTEN_S:
            self._wrong.pop(address, None)
            return 0.0
        wait_s = max(0.0, free_s - now_s)
        if wait_s <= MOST_AHEAD_S:
            self._wrong[address] = (count, max(free_s, now_s) + _pause_s(count))
        return wait_s

    def wrong(self, address: str) -> None:
        """An attempt was wrong."""
        count, free_s = self._wrong.pop(address, (0, 0.0))
        self._wrong[address] = (count + 1, max(free_s, self._clock() + _pause_s(count + 1)))
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.pop(next(iter(self._wrong)))

    def right(self, address: str) -> None:
        """An attempt was right."""
        self._wrong.pop(address, None)


def is_logged_in(scope: Message, headers: Headers) -> bool:
    """Whether no login is asked for, or the request comes with one."""
    app: Any = scope.get("app")
    if getattr(app, "auth", None) is None:
        return True
    cookies = cookie_parser(headers.get("cookie", ""))
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names if cookies.get(name))


def own_names(host: str, public: Iterable[str] = ()) -> list[str]:
    """The names by which a studio that listens at `host` is asked for: that, the machine's, and those it was given."""
    machine = socket.gethostname().lower()
    return [host, machine, f"{machine}.local", *public]


def _pause_s(count: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(count - 1, 10))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refuse(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _with_advice(frames: str, send: Send) -> Send:
    """Tell browsers to believe the types, to leave the address to this site, and who may show it in a frame."""

    async def advise(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("x-content-type-options", "nosniff")
            headers.setdefault("referrer-policy", "same-origin")
            policy = f"frame-ancestors {frames}; object-src 'none'; base-uri 'self'"
            headers.setdefault("content-security-policy", policy)
            if frames == OWN_FRAMES:
                headers.setdefault("x-frame-options", "SAMEORIGIN")
        await send(message)

    return advise
