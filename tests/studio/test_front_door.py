"""What no request gets past: another name, a missing login, too much at once, a login tried again and again."""

import json

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from studio.front_door import LONGEST_JSON, MOST_AHEAD_S, FrontDoor, SlowLogins, own_names


async def repeat(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


async def login(request: Request) -> PlainTextResponse:
    return PlainTextResponse("", 200 if await request.body() == b"right" else 400)


def site(names: list[str] | None = None) -> Starlette:
    app = Starlette(
        routes=[
            Route("/", lambda request: PlainTextResponse("page")),
            Route("/gradio_api/run/predict", repeat, methods=["POST"]),
            Route("/login", login, methods=["POST"]),
        ]
    )
    app.add_middleware(FrontDoor, names=names)
    return app


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        ("localhost:7860", True),
        ("127.0.0.1:7860", True),
        ("[::1]:7860", True),
        ("192.168.1.5:7860", True),
        ("LocalHost", True),
        ("studio.example:443", True),
        ("evil.example:7860", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:7860", False),
        ("evil.example#localhost", False),
        ("[evil]:7860", False),
        ("", False),
    ],
)
def test_it_answers_to_its_own_names_alone(host: str, is_answered: bool):
    client = TestClient(site(own_names("127.0.0.1", ["studio.example"])))
    assert (client.get("/", headers={"host": host}).status_code == 200) == is_answered


def test_browsers_are_told_what_not_to_do(monkeypatch: pytest.MonkeyPatch):
    headers = TestClient(site()).get("/").headers
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self';" in headers["content-security-policy"]
    monkeypatch.setenv("SPACE_ID", "owner/space")  # shown in a frame of the hub's
    headers = TestClient(site()).get("/").headers
    assert "x-frame-options" not in headers and "huggingface.co" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"data": [1, "ok"]}', 200),
        (b"{", 400),
        (b"[" * 200_000, 400),
        (b"[" * 101 + b"]" * 101, 400),
        (b'["\\ud800"]', 400),
        (b"[9223372036854775808]", 400),
        (b"[Infinity]", 400),
        (b'"' + b"x" * LONGEST_JSON + b'"', 413),
    ],
)
def test_an_event_is_no_more_than_can_be_kept(body: bytes, status: int):
    answer = TestClient(site()).post(
        "/gradio_api/run/predict", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status
    assert answer.json() == json.loads(body) if status == 200 else answer.json()["error"]


def test_wrong_logins_wait_longer_and_longer_and_a_right_one_forgives():
    now_s = 0.0
    logins = SlowLogins(lambda: now_s)
    waits = []
    for _ in range(6):
        waits.append(logins.wait_s("here"))
        now_s += waits[-1]
        logins.wrong("here")
    assert waits[0] == 0.0 and waits == sorted(waits) and waits[-1] >= 2.0
    assert logins.wait_s("elsewhere") == 0.0
    logins.right("here")
    assert logins.wait_s("here") == 0.0


def test_sixty_at_once_do_not_get_sixty_tries():
    logins = SlowLogins(lambda: 0.0)
    logins.wrong("here")
    assert sum(logins.wait_s("here") <= MOST_AHEAD_S for _ in range(1000)) < 100


def test_a_wrong_login_is_counted_over_http():
    client = TestClient(site())
    assert client.post("/login", content=b"wrong").status_code == 400
    assert client.post("/login", content=b"right").status_code == 200
