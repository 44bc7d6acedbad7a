"""Who a visitor is, and that nobody gets another's files by their address: a cookie, and a gate before the web server.

A browser's first answer brings a signed cookie that scripts cannot read; jobs and uploads belong to it. The gate says
who each request comes from, serves results under `/results/<job>/<name>`, to their owner alone, refuses Gradio's own
file route for everything in the data folder but uploads, which only their uploader gets back, and refuses an event that
names another's upload. Who keeps no cookies owns what their page's session asked for, under addresses that cannot be
guessed.
"""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse

from studio.front_door import JSON_BODY
from studio.identity import ANONYMOUS, Identities, Network
from studio.jobs import DRAFT_NAME, EXPORTED, POSTER_NAME, JobStore
from studio.json_bodies import walk
from studio.private_files import DISK_IS_FULL, FULL_DISK
from studio.words import LANGUAGE, preferred_language

COOKIE = "echomimic-visitor"
COOKIE_AGE_S = 365 * 24 * 60 * 60
RESULTS = "/results/"
UPLOAD_ROUTE = "/upload"
FILE_ROUTE = re.compile(r"/file[=/]")
MCP_ROUTE = "/gradio_api/mcp"
CALLER_HEADER = b"x-echomimic-caller"
"""Who called the MCP server, in its request to the API of this studio; signed, and taken from nobody else."""
VISITOR, CALLER = "echomimic.visitor", "echomimic.caller"
"""What the gate writes into a request: the visitor by a cookie that was given here, and the caller without one."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def owner_of(request: gr.Request) -> str:
    """Whose jobs a page's request is about. Two people who log in through the same browser do not share jobs."""
    visitor = _noted(request, VISITOR) or f"{ANONYMOUS}{request.session_hash}"
    return f"{request.username or ''}:{visitor}"


def caller_of(request: gr.Request) -> str:
    """Who calls the API: a browser by its cookie, anybody else for this call alone."""
    return f"{request.username or ''}:{_noted(request, VISITOR) or _noted(request, CALLER)}"


def _noted(request: gr.Request, name: str) -> str:
    return request.request.scope.get(name, "") if request.request else ""


def result_url(job_id: str, name: str) -> str:
    """The address of one of a job's files, relative to the page."""
    return f"{RESULTS[1:]}{job_id}/{name}"


class VisitorGate:
    """ASGI middleware: gives cookies, remembers uploads, serves results and refuses what is another's."""

    def __init__(self, app: App, store: JobStore, uploads: Path, proxies: Sequence[Network] = ()) -> None:
        self._app, self._store, self._uploads = app, store, uploads.resolve()
        self._identities = Identities(store.folder, proxies)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        LANGUAGE.set(preferred_language(headers.get("accept-language", "")))
        cookie = _cookie(headers)
        visitor = self._identities.visitor_of(cookie)
        scope[VISITOR] = visitor
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        self._note_caller(scope, headers, path)
        if path.startswith(RESULTS):
            await (await run_in_threadpool(self._result, path, visitor))(scope, receive, send)
        elif (asked := FILE_ROUTE.search(path)) and not await run_in_threadpool(
            self._may_read, path[asked.end() :], visitor
        ):
            await PlainTextResponse("Not found", 404)(scope, receive, send)
        elif (sent := scope.get(JSON_BODY)) and not await run_in_threadpool(self._may_send, sent, visitor):
            await JSONResponse({"error": "That file is not yours; choose it again."}, 403)(scope, receive, send)
        elif path.endswith(UPLOAD_ROUTE) and scope["method"] == "POST":
            await self._upload(scope, receive, send, visitor or ANONYMOUS)
        elif path == "/" and not visitor:
            known = await run_in_threadpool(self._identities.cookie_for_earlier, cookie, self._store.knows_visitor)
            given = known or self._identities.new_cookie()
            await self._app(scope, receive, _give_cookie(given, secure=_is_secure(scope, headers), send=send))
        else:
            await self._app(scope, receive, send)

    async def _upload(self, scope: Message, receive: Receive, send: Send, visitor: str) -> None:
        try:
            await self._app(scope, receive, self._remember_upload(visitor, send))
        except OSError as error:
            if error.errno not in DISK_IS_FULL:
                raise
            await JSONResponse({"detail": FULL_DISK}, 507)(scope, receive, send)

    def _note_caller(self, scope: Message, headers: Headers, path: str) -> None:
        """Write down who calls; the MCP server's own request says whom it asks for."""
        said = self._identities.stamped(headers.get(CALLER_HEADER.decode(), ""))
        peer = scope["client"][0] if scope.get("client") else ""
        address = self._identities.address_of(peer, headers.get("x-forwarded-for", ""))
        scope[CALLER] = said or self._identities.caller(address)
        if path.startswith(MCP_ROUTE):
            kept = [(name, value) for name, value in scope["headers"] if name.lower() != CALLER_HEADER]
            scope["headers"] = [*kept, (CALLER_HEADER, self._identities.stamp(scope[CALLER]).encode())]

    def _result(self, path: str, visitor: str) -> FileResponse | PlainTextResponse:
        job_id, _, name = path.removeprefix(RESULTS).partition("/")
        job = self._store.find_any(job_id)
        owner = job.owner.partition(":")[2] if job else ""
        mine = owner == visitor if visitor else owner.startswith(ANONYMOUS)
        shown = job is not None and name in (job.request["out"], POSTER_NAME, DRAFT_NAME)
        if job is None or not mine or not (shown or EXPORTED.fullmatch(name)):
            return PlainTextResponse("Not found", 404)
        file = self._store.folder_of(job_id) / name
        if not file.is_file():
            return PlainTextResponse("Not found", 404)
        return FileResponse(file, headers={"Cache-Control": "private, max-age=3600"})

    def _may_read(self, path: str, visitor: str) -> bool:
        try:
            file = Path(path).resolve()
        except (ValueError, OSError, RuntimeError):  # no name that a file could have
            return False
        if file.is_relative_to(self._uploads):
            below = file.relative_to(self._uploads).parts
            uploaders = self._store.uploaders(below[0]) if below else set()
            known = visitor in uploaders or (ANONYMOUS in uploaders and _has_no_cookie(visitor))
            return bool(below) and (not uploaders or known)
        return not file.is_relative_to(self._store.folder)

    def _may_send(self, sent: Any, visitor: str) -> bool:
        """Whether every file that an event names may be read by who sends it."""
        session = sent.get("session_hash") if isinstance(sent, dict) else None
        files = [
            value["path"] for value in walk(sent) if isinstance(value, dict) and isinstance(value.get("path"), str)
        ]
        return all(self._may_read(path, visitor or f"{ANONYMOUS}{session}") for path in files)

    def _remember_upload(self, visitor: str, send: Send) -> Send:
        """Hold Gradio's answer, a list of paths, back until it is written down whose they are."""
        body = bytearray()
        held: list[Message] = []

        async def remember(message: Message) -> None:
            held.append(message)
            body.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                if held[0]["status"] == 200:
                    await run_in_threadpool(self._note, json.loads(body), visitor)
                for part in held:
                    await send(part)

        return remember

    def _note(self, paths: list[str], visitor: str) -> None:
        for path in paths:
            self._store.note_upload(Path(path).resolve().relative_to(self._uploads).parts[0], visitor)


def _cookie(headers: Headers) -> str:
    """The visitor's cookie as it was sent, or nothing."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _has_no_cookie(visitor: str) -> bool:
    """One file may come from many: who keeps no cookie is let have what somebody without one brought too."""
    return not visitor or visitor.startswith(ANONYMOUS)


def _is_secure(scope: Message, headers: Headers) -> bool:
    """Whether the browser came by https, be it to a proxy in front, as on Spaces."""
    return scope["scheme"] == "https" or headers.get("x-forwarded-proto", "").startswith("https")


def _give_cookie(value: str, *, secure: bool, send: Send) -> Send:
    # A page inside another's frame, as on Spaces, keeps a cookie only if it is partitioned, which wants https.
    where = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"

    async def give(message: Message) -> None:
        if message["type"] == "http.response.start":
            cookie = f"{COOKIE}={value}; Path=/; Max-Age={COOKIE_AGE_S}; HttpOnly; {where}"
            MutableHeaders(scope=message).append("set-cookie", cookie)
        await send(message)

    return give
