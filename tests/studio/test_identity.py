"""Who somebody is can only be given by the studio: no cookie, header or address makes anybody somebody else."""

import hashlib
import ipaddress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from engine.contract.request import GenerationRequest
from studio.identity import Identities, turn_of
from studio.jobs import JobStore
from studio.visitors import CALLER, COOKIE, VISITOR, VisitorGate

PROXY = ipaddress.ip_network("10.0.0.0/8")
EARLIER = "aB3_-" + "x" * 27
"""A cookie as browsers have them from before they were signed."""


def told(request: Request) -> JSONResponse:
    return JSONResponse({"visitor": request.scope[VISITOR], "caller": request.scope[CALLER]})


def gate(store: JobStore, *proxies: ipaddress.IPv4Network) -> VisitorGate:
    app = Starlette(routes=[Route("/", told), Route("/who", told)])
    return VisitorGate(app, store, store.folder / "uploads", proxies)


def who(store: JobStore, path: str = "/who", client: tuple[str, int] = ("192.0.2.1", 1), **headers: str) -> dict:
    sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return TestClient(gate(store, PROXY), client=client).get(path, headers=sent).json()


@pytest.mark.parametrize(
    "forged",
    [
        f"api-{hashlib.sha256(b'127.0.0.1').hexdigest()[:24]}",
        f"api-{'0' * 24}.abc",
        "session-tests",
        "session-" + "x" * 24,
        "api-" + "x" * 28,
        "earlier." + EARLIER,
        f"earlier.{EARLIER}.{'0' * 64}",
        EARLIER,
        "a" * 32 + "." + "0" * 64,
        ".",
        "é",
        "'; drop table jobs; --",
        "",
    ],
)
def test_no_cookie_that_the_studio_did_not_give_names_anybody(store: JobStore, forged: str):
    said = who(store, cookie=f"{COOKIE}={forged}")
    assert said["visitor"] == ""


def test_a_cookie_outlives_a_restart_and_no_other_studio_takes_it(store: JobStore, tmp_path: Path):
    cookie = TestClient(gate(store)).get("/").cookies[COOKIE]
    again = JobStore(store.folder)
    assert who(again, cookie=f"{COOKIE}={cookie}")["visitor"] == cookie
    again.close()
    other = JobStore(tmp_path / "other")
    assert who(other, cookie=f"{COOKIE}={cookie}")["visitor"] == ""
    other.close()
    secret = store.folder / "secret"
    assert secret.stat().st_mode & 0o777 == 0o600 and store.folder.stat().st_mode & 0o777 == 0o700


def test_one_letter_changed_is_another_cookie(store: JobStore):
    cookie = TestClient(gate(store)).get("/").cookies[COOKIE]
    for place in range(len(cookie)):
        changed = cookie[:place] + ("a" if cookie[place] != "a" else "b") + cookie[place + 1 :]
        assert who(store, cookie=f"{COOKIE}={changed}")["visitor"] == ""


def test_who_was_here_before_cookies_were_signed_keeps_their_jobs(store: JobStore, asked: GenerationRequest):
    store.submit(f":{EARLIER}", asked)
    browser = TestClient(gate(store), cookies={COOKIE: EARLIER})
    signed = browser.get("/").cookies[COOKIE]
    assert signed != EARLIER
    assert who(store, cookie=f"{COOKIE}={signed}")["visitor"] == EARLIER
    assert store.recent(f":{who(store, cookie=f'{COOKIE}={signed}')['visitor']}")
    unknown = TestClient(gate(store), cookies={COOKIE: "y" * 32}).get("/").cookies[COOKIE]
    assert who(store, cookie=f"{COOKIE}={unknown}")["visitor"] == unknown


def test_a_caller_without_a_cookie_owns_one_call_and_shares_a_turn_with_their_address(store: JobStore):
    first, second = (who(store)["caller"] for _ in range(2))
    elsewhere = who(store, client=("192.0.2.2", 1))["caller"]
    assert len({first, second, elsewhere}) == 3
    assert turn_of(f":{first}") == turn_of(f":{second}") != turn_of(f":{elsewhere}")
    for address in ("192.0.2.1", "192.0.2.2"):
        digest = hashlib.sha256(address.encode()).hexdigest()
        assert not any(digest[:8] in name or address in name for name in (first, second, elsewhere))
    assert who(store, cookie=f"{COOKIE}={first}")["visitor"] == ""


def test_whose_turn_it_is_says_the_connection_or_a_named_proxy_and_nobody_else(store: JobStore):
    def turn(peer: str, forwarded: str = "") -> str:
        headers = {"x_forwarded_for": forwarded} if forwarded else {}
        return turn_of(":" + who(store, client=(peer, 1), **headers)["caller"])

    assert turn("192.0.2.1", "198.51.100.9") == turn("192.0.2.1")
    assert turn("10.0.0.1", "198.51.100.9") == turn("198.51.100.9") != turn("10.0.0.1")
    assert turn("10.0.0.1", "203.0.113.5, 198.51.100.9") == turn("198.51.100.9")  # what the caller made up is before
    assert turn("10.0.0.1", "198.51.100.9, 10.0.0.2") == turn("198.51.100.9")
    assert turn("10.0.0.1", "nonsense") == turn("nonsense")


def test_nobody_but_the_studio_says_who_called_its_mcp_server(store: JobStore):
    forged = Identities(store.folder.parent / "other").stamp("api-victim.call")
    for header in ("api-victim.call", f"api-victim.call.{'0' * 64}", forged):
        assert "victim" not in who(store, x_echomimic_caller=header)["caller"]
    stamped = Identities(store.folder).stamp("api-friend.call")
    assert who(store, x_echomimic_caller=stamped)["caller"] == "api-friend.call"


def test_calls_from_one_address_take_turns_and_are_counted_together(store: JobStore, asked: GenerationRequest):
    identities = Identities(store.folder)
    owners = [f":{identities.caller('192.0.2.1')}" for _ in range(3)]
    for owner in owners:
        store.submit(owner, asked)
    late = store.submit(":somebody", asked)
    assert [store.count(owner) for owner in (*owners, ":somebody")] == [3, 3, 3, 1]
    assert store.jobs_ahead(late) == 1
    assert all(len(store.recent(owner)) == 1 for owner in owners)
