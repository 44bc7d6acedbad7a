"""Who a visitor is, and that nobody gets another's files by their address: a cookie, and a gate before the web server.

A browser's first answer brings a random cookie that scripts cannot read; jobs and uploads belong to it. The gate serves
results under `/results/<job>/<name>`, to their owner alone, and refuses Gradio's own file route for everything in the
data folder but uploads, which only their uploader gets back. Who keeps no cookies owns what their page's session asked
for, under addresses that cannot be guessed.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, PlainTextResponse

from studio.jobs import DRAFT_NAME, POSTER_NAME, JobStore
from studio.words import LANGUAGE, preferred_language

COOKIE = "echomimic-visitor"
COOKIE_AGE_S = 365 * 24 * 60 * 60
RESULTS = "/results/"
UPLOAD_ROUTE = "/upload"
FILE_ROUTE = re.compile(r"/file[=/]")
ANONYMOUS = "session-"
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def owner_of(request: gr.Request) -> str:
    """Whose jobs a page's request is about. Two people who log in through the same browser do not share jobs."""
    visitor = request.cookies.get(COOKIE) or f"{ANONYMOUS}{request.session_hash}"
    return f"{request.username or ''}:{visitor}"


def caller_of(request: gr.Request) -> str:
    """Who calls the API: everybody from one address shares a turn in the queue; results have addresses of their own."""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    address = forwarded or (request.client.host if request.client else "")
    return f":api-{hashlib.sha256(address.encode()).hexdigest()[:24]}"


def result_url(job_id: str, name: str) -> str:
    """The address of one of a job's files, relative to the page."""
    return f"{RESULTS[1:]}{job_id}/{name}"


class VisitorGate:
    """ASGI middleware: gives cookies, remembers uploads, serves results and refuses what is another's."""

    def __init__(self, app: App, store: JobStore, uploads: Path) -> None:
        self._app, self._store, self._uploads = app, store, uploads.resolve()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        LANGUAGE.set(preferred_language(headers.get("accept-language", "")))
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        visitor = cookie.value if cookie else ""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(RESULTS):
            await (await run_in_threadpool(self._result, path, visitor))(scope, receive, send)
        elif (asked := FILE_ROUTE.search(path)) and not await run_in_threadpool(
            self._may_read, path[asked.end() :], visitor
        ):
            await PlainTextResponse("Not found", 404)(scope, receive, send)
        elif path.endswith(UPLOAD_ROUTE) and scope["method"] == "POST" and visitor:
            await self._app(scope, receive, self._remember_upload(visitor, send))
        elif path == "/" and not visitor:
            await self._app(scope, receive, _give_cookie(secure=_is_secure(scope, headers), send=send))
        else:
            await self._app(scope, receive, send)

    def _result(self, path: str, visitor: str) -> FileResponse | PlainTextResponse:
        job_id, _, name = path.removeprefix(RESULTS).partition("/")
        job = self._store.find_any(job_id)
        owner = job.owner.partition(":")[2] if job else ""
        mine = owner == visitor if visitor else owner.startswith(ANONYMOUS)
        if job is None or not mine or name not in (job.request["out"], POSTER_NAME, DRAFT_NAME):
            return PlainTextResponse("Not found", 404)
        file = self._store.folder_of(job_id) / name
        if not file.is_file():
            return PlainTextResponse("Not found", 404)
        return FileResponse(file, headers={"Cache-Control": "private, max-age=3600"})

    def _may_read(self, path: str, visitor: str) -> bool:
        file = Path(path).resolve()
        if file.is_relative_to(self._uploads):
            uploaders = self._store.uploaders(file.relative_to(self._uploads).parts[0])
            return not uploaders or visitor in uploaders
        return not file.is_relative_to(self._store.folder)

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


def _is_secure(scope: Message, headers: Headers) -> bool:
    """Whether the browser came by https, be it to a proxy in front, as on Spaces."""
    return scope["scheme"] == "https" or headers.get("x-forwarded-proto", "").startswith("https")


def _give_cookie(*, secure: bool, send: Send) -> Send:
    # A page inside another's frame, as on Spaces, keeps a cookie only if it is partitioned, which wants https.
    where = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"

    async def give(message: Message) -> None:
        if message["type"] == "http.response.start":
            value = f"{COOKIE}={secrets.token_urlsafe(24)}; Path=/; Max-Age={COOKIE_AGE_S}; HttpOnly; {where}"
            MutableHeaders(scope=message).append("set-cookie", value)
        await send(message)

    return give
