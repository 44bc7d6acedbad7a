"""The review tab over plain HTTP: quick enough for key after key, and nothing is acknowledged before it is kept.

The page sends what it has not had acknowledged, in order and with its own ids, as often as it takes; what it gets back
is the ids that are kept and the clips that come next. Requests that change something must be JSON, which no other
site's page can send for a visitor.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from engine.contract.errors import UserError
from studio.json_bodies import BIGGEST_WHOLE, read_body, read_json
from studio.review.agreement import agreement_of
from studio.review.annotators import Annotator, annotator_of, is_private, lead_of, login_address
from studio.review.clips import CLIP_ID, ClipFolder
from studio.review.export import clips_jsonl, label_studio_config, label_studio_json, negatives, preferences_csv
from studio.review.labels import Answer, is_swapped, read_key_press
from studio.review.preferences import preferences_of
from studio.review.progress import progress_of
from studio.review.queue import upcoming
from studio.review.rows import ItemRow
from studio.review.store import Batch, ClipSize, ReviewStore
from studio.review.words import WORDS

PREFIX = "/review"
MOST_EVENTS = 200
LONGEST_BODY = 2**20
"""Bytes of so many events, with a note each."""
CLIP_AGE_S = 24 * 60 * 60
"""Clips never change, so the browser keeps what it loaded ahead."""
Endpoint = Callable[[Request], Response]


class ReviewRoutes:
    """The endpoints on a store and its clips. `translate` says words in the language of the request."""

    def __init__(
        self,
        store: ReviewStore,
        clips: ClipFolder,
        waiting: Callable[[int], int] = lambda batch: 0,
        translate: Callable[[str], str] = str,
    ) -> None:
        self._store = store
        self._clips = clips
        self._waiting = waiting
        self._translate = translate

    def mount(self) -> Mount:
        """The routes below `PREFIX`, for the page's server."""
        said = self._said
        return Mount(
            PREFIX,
            routes=[
                Route("/setup", said(self.setup)),
                Route("/queue/{batch:int}", said(self.queue)),
                Route("/keys/{batch:int}", self.keys, methods=["POST"]),
                Route("/progress/{batch:int}", said(self.progress)),
                Route("/clips/{clip}", said(self.clip)),
                Route("/agreement/{batch:int}", said(self.agreement)),
                Route("/export/{format}", said(self.export)),
            ],
        )

    def setup(self, request: Request) -> Response:
        """Who is asking, the issues, the words in their language, and the batches."""
        annotator = annotator_of(request)
        issues = [
            {"id": issue.id, "key": issue.key, "title": self._translate(issue.title)}
            for issue in self._store.issues.values()
        ]
        batches = [self._batch(batch) for batch in self._store.batches()]
        return JSONResponse(
            {
                "annotator": asdict(annotator),
                "issues": issues,
                "batches": batches,
                "words": {english: self._translate(english) for english in WORDS},
            }
        )

    def queue(self, request: Request) -> Response:
        """The annotator's next items."""
        annotator = annotator_of(request)
        return JSONResponse(self._queue(annotator, _number(request.path_params["batch"])))

    async def keys(self, request: Request) -> Response:
        """Keep key presses, each in a transaction of its own, in order; then the next items."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return PlainTextResponse("Send application/json", 415)
        try:
            annotator_of(request)  # before a word of it is read
            values = read_json(await read_body(request.receive, LONGEST_BODY))
        except UserError as error:
            return _refused(error)
        return await run_in_threadpool(self._said_now, self._keep, request, values)

    def clip(self, request: Request) -> Response:
        """A clip's video."""
        annotator_of(request)
        clip_id = request.path_params["clip"].removesuffix(".mp4")
        if not CLIP_ID.fullmatch(clip_id) or not self._clips.video_of(clip_id).is_file():
            return PlainTextResponse("Not found", 404)
        headers = {"Cache-Control": f"private, max-age={CLIP_AGE_S}, immutable"}
        return FileResponse(self._clips.video_of(clip_id), media_type="video/mp4", headers=headers)

    def progress(self, request: Request) -> Response:
        """How far the annotator is with a batch; `since` is when their day began, seconds since the epoch."""
        annotator = annotator_of(request)
        batch = self._store.batch(_number(request.path_params["batch"]))
        try:
            since_s = float(request.query_params.get("since", "0"))
        except ValueError:
            raise UserError("since is a moment in seconds since 1970.", "since") from None
        found = asdict(progress_of(self._store.database, batch.id, annotator.name, since_s))
        found["items"] += self._waiting(batch.id) // (2 if batch.kind == "pairs" else 1)
        return JSONResponse(_without_nan(found))

    def agreement(self, request: Request) -> Response:
        """Agreement and progress, or preferences, of one batch, as the reader may know them."""
        reader = annotator_of(request)
        batch = self._store.batch(_number(request.path_params["batch"]))
        database = self._store.database
        found = agreement_of(database, batch.id, reader.name, self._store.issues)
        said: dict[str, Any] = asdict(found) | {"confusion": found.confusion.tolist(), "kind": batch.kind}
        said["waiting"] = self._waiting(batch.id)
        if batch.kind == "pairs":
            said["preferences"] = asdict(preferences_of(database, batch.id, reader.name))
            if reader.lead:
                said["sides"] = [batch.side_a, batch.side_b]
        return JSONResponse(_without_nan(said))

    def export(self, request: Request) -> Response:
        """The labels, or the clips, as a file; for leads, since it tells what annotators are not to know."""
        lead_of(request)
        asked, issue = request.query_params.get("batch"), request.query_params.get("issue") or None
        batch_id = _number(asked) if asked and asked.isdecimal() else None
        kind = request.path_params["format"]
        # Only a program of this very machine can do anything with where its files are.
        here = request.query_params.get("paths") == "here" and is_private(request)
        place = self._clips.file_of if here else self._clips.told_place
        if kind == "negatives.jsonl":
            records = negatives(self._store, self._clips, batch_id, issue, place=place)
            text = "".join(f"{record.model_dump_json()}\n" for record in records)
        elif kind == "preferences.csv":
            text = preferences_csv(self._store, batch_id)
        elif kind == "label-studio.json":
            text = label_studio_json(self._store, self._clips, batch_id, place=place)
        elif kind == "label-studio.xml":
            text = label_studio_config(self._store)
        elif kind == "clips.jsonl":
            text = clips_jsonl(self._store, self._clips, batch_id, place=place)
        else:
            return PlainTextResponse("Not found", 404)
        headers = {"Content-Disposition": f'attachment; filename="{kind}"', "Cache-Control": "no-store"}
        return PlainTextResponse(text, headers=headers)

    def _keep(self, request: Request, values: Any) -> Response:
        annotator = annotator_of(request)
        batch_id = _number(request.path_params["batch"])
        if not isinstance(values, list) or len(values) > MOST_EVENTS:
            raise UserError(f"Send a list of at most {MOST_EVENTS} key presses.", "events")
        kept, refused = [], []
        for each in values:
            client_id = each.get("client_id") if isinstance(each, dict) else None
            try:
                self._store.press(annotator.name, batch_id, read_key_press(each))
                kept.append(client_id)
            except UserError as error:
                refused.append({"client_id": client_id, "message": error.message})
        return JSONResponse({"kept": kept, "refused": refused} | self._queue(annotator, batch_id))

    def _queue(self, annotator: Annotator, batch_id: int) -> dict[str, Any]:
        batch = self._store.batch(batch_id)
        items = upcoming(self._store.database, annotator.name, batch_id)
        shown = self._store.shown(annotator.name, items)
        seen = self._store.seen(annotator.name, items)
        return {"items": [_item(annotator, batch.kind, *each) | {"seen": each[0].id in seen} for each in shown]}

    def _batch(self, batch: Batch) -> dict[str, Any]:
        return {"id": batch.id, "title": batch.title, "kind": batch.kind, "waiting": self._waiting(batch.id)}

    def _said(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint; a UserError is an answer."""

        @wraps(endpoint)
        def answer(request: Request) -> Response:
            return self._said_now(endpoint, request)

        return answer

    @staticmethod
    def _said_now(endpoint: Callable[..., Response], *arguments: Any) -> Response:
        try:
            return endpoint(*arguments)
        except UserError as error:
            return _refused(error)


def _item(annotator: Annotator, kind: str, item: ItemRow, clips: list[ClipSize], answer: Answer) -> dict[str, Any]:
    """What the annotator may know about an item: its videos and what they have said, not how it was made."""
    shown = [
        {
            "url": f"{PREFIX[1:]}/clips/{clip.id}.mp4",
            "frames": clip.num_frames,
            "fps": clip.fps,
            "width_px": clip.width_px,
            "height_px": clip.height_px,
        }
        for clip in clips
    ]
    if len(shown) > 1 and is_swapped(item.id, annotator.name):
        shown.reverse()
    return {"item": item.id, "kind": kind, "clips": shown, "marks": answer.marks, "note": answer.note}


def _number(value: str | int) -> int:
    """A row's number; beyond what a database counts there is none."""
    number = int(value)
    if number >= BIGGEST_WHOLE:
        raise UserError(f"There is no batch {str(value)[:40]}.", "batch")
    return number


def _refused(error: UserError) -> Response:
    if error.field == "login":
        return JSONResponse({"error": error.message, "field": "login", "login": login_address()}, 403)
    return JSONResponse({"error": error.message, "field": error.field}, 400)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what cannot be said is null."""
    if isinstance(value, dict):
        return {key: _without_nan(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inside) for inside in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
