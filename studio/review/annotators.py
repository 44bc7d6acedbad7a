"""Who is labelling, and who leads: from Gradio's logins, from Hugging Face's on Spaces, or nobody's but a name.

A lead imports, exports and trains; an annotator only labels. With `--auth` the first account leads; on Spaces the
owner of the Space does; on a machine that only its own user can reach, that user does, under a name of their choice.
"""

import os
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import HTTPConnection

from engine.contract.errors import UserError

NAME_COOKIE = "echomimic-annotator"
NOBODY = "local"
LONGEST_NAME = 60
LOOPBACK = ("127.0.0.1", "localhost", "::1")
FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of a proxy or a tunnel, behind which anybody may be."""


@dataclass(frozen=True)
class Annotator:
    """Somebody who may label. `chosen` is whether they typed the name themselves."""

    name: str
    lead: bool
    chosen: bool = False


def annotator_of(request: HTTPConnection) -> Annotator:
    """Who sends the request. Raises UserError where a login is needed and missing."""
    app = request.app
    accounts = getattr(app, "auth", None)
    if accounts is not None:
        user = _gradio_user(request)
        if user is None:
            raise UserError("Log in first.", "login")
        leads = list(accounts)[:1] if isinstance(accounts, dict) else []
        return Annotator(user, lead=user in leads)
    space = os.environ.get("SPACE_ID")
    if space:
        user = _hugging_face_user(request)
        if user is None:
            raise UserError("Log in with Hugging Face to label.", "login")
        return Annotator(user, lead=user == space.split("/")[0])
    name = unquote(request.cookies.get(NAME_COOKIE, "")).strip()[:LONGEST_NAME] or NOBODY
    return Annotator(name, lead=is_private(request), chosen=True)


def lead_of(request: HTTPConnection | None) -> Annotator:
    """The same, for what only leads may do. Raises UserError for others, and where no browser asks."""
    annotator = annotator_of(request) if request is not None else None
    if annotator is None or not annotator.lead:
        raise UserError("Only the lead may do this: the first --auth account, or the owner of the Space.", "login")
    return annotator


def login_address() -> str:
    """Where one logs in, seen from the page's own address."""
    return "login/huggingface?_target_url=/" if os.environ.get("SPACE_ID") else "./"


def _gradio_user(request: HTTPConnection) -> str | None:
    app = request.app
    for name in (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}"):
        if (token := request.cookies.get(name)) in app.tokens:
            return app.tokens[token]
    return None


def _hugging_face_user(request: HTTPConnection) -> str | None:
    session = request.scope.get("session") or {}
    return session.get("oauth_info", {}).get("userinfo", {}).get("preferred_username")


def is_private(request: HTTPConnection) -> bool:
    """Whether the page listens to its own machine only, is not shared, and nobody passes on what others ask."""
    blocks = getattr(request.app, "blocks", None)
    if any(name in request.headers for name in FORWARDING):
        return False
    return blocks is None or (getattr(blocks, "server_name", None) in LOOPBACK and not getattr(blocks, "share", False))
