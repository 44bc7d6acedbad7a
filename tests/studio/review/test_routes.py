"""The review tab over HTTP: what is acknowledged, who may ask, and what nobody is told."""

import itertools
import time
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from studio.review.clips import ClipFolder
from studio.review.routes import ReviewRoutes
from tests.studio.review.small_clips import key


@pytest.fixture
def app(reviews, tmp_path) -> Starlette:
    return Starlette(routes=[ReviewRoutes(reviews, ClipFolder(tmp_path / "clips", reviews)).mount()])


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    with TestClient(app) as client:
        client.cookies.set("echomimic-annotator", "ada")
        yield client


def sent(item: int, kind: str, **values) -> dict:
    return key(item, kind, **values).model_dump(mode="json")


def test_the_answer_names_what_is_kept_and_brings_the_next_clips(client, filled):
    batch = filled(3)
    first, second = client.get(f"/review/queue/{batch}").json()["items"]
    presses = [sent(first["item"], "mark", issue="blur"), sent(first["item"], "bad")]
    said = client.post(f"/review/keys/{batch}", json=presses).json()
    assert said["kept"] == [press["client_id"] for press in presses]
    assert said["items"][0]["item"] == second["item"] and len(said["items"]) == 2
    assert client.post(f"/review/keys/{batch}", json=presses).json()["kept"] == said["kept"]


def test_one_bad_key_does_not_hold_the_others_up(client, filled):
    batch = filled(1)
    (item,) = client.get(f"/review/queue/{batch}").json()["items"]
    wrong, right = sent(item["item"], "bad"), sent(item["item"], "good")
    said = client.post(f"/review/keys/{batch}", json=[wrong, right]).json()
    assert said["kept"] == [right["client_id"]]
    assert said["refused"][0]["client_id"] == wrong["client_id"]


def test_a_clip_says_nothing_of_how_it_was_made_or_what_others_said(client, filled):
    batch = filled(1, overlap=2, gold=[{"verdict": "good", "issues": []}])
    (item,) = client.get(f"/review/queue/{batch}").json()["items"]
    client.post(f"/review/keys/{batch}", json=[sent(item["item"], "mark", issue="blur")])
    client.cookies.set("echomimic-annotator", "ben")
    (same,) = client.get(f"/review/queue/{batch}").json()["items"]
    assert set(same) == {"item", "kind", "clips", "marks", "note", "seen"}
    assert set(same["clips"][0]) == {"url", "frames", "fps", "width_px", "height_px"}
    assert same["marks"] == {}


@pytest.mark.parametrize("last", ["good", "skip"])
def test_what_was_seen_once_need_not_be_watched_again(client, filled, last):
    batch = filled(2)
    first, second = client.get(f"/review/queue/{batch}").json()["items"]
    assert not first["seen"] and not second["seen"]
    client.post(f"/review/keys/{batch}", json=[sent(first["item"], last)])
    client.post(f"/review/keys/{batch}", json=[sent(0, "undo", played=False)])
    again, other = client.get(f"/review/queue/{batch}").json()["items"]
    assert (again["item"], again["seen"], other["seen"]) == (first["item"], True, False)
    said = client.post(f"/review/keys/{batch}", json=[sent(first["item"], "good", played=False)]).json()
    assert len(said["kept"]) == 1
    said = client.post(f"/review/keys/{batch}", json=[sent(second["item"], "good", played=False)]).json()
    assert "Play it to its end" in said["refused"][0]["message"]
    client.cookies.set("echomimic-annotator", "ben")
    assert not any(item["seen"] for item in client.get(f"/review/queue/{filled(1)}").json()["items"])


def test_progress_is_what_wants_nothing_more_of_me_and_says_nothing_of_gold(client, reviews, filled):
    batch = filled(5, overlap=2, gold=[{"verdict": "good", "issues": []}, *[None] * 4])

    def told(since: float = 0.0) -> tuple[int, int, int]:
        found = client.get(f"/review/progress/{batch}?since={since}").json()
        return found["done"], found["items"], found["today"]

    assert told() == (0, 5, 0)
    for count in range(1, 6):
        (item, *_) = client.get(f"/review/queue/{batch}").json()["items"]
        client.post(f"/review/keys/{batch}", json=[sent(item["item"], "good" if count % 2 else "skip")])
        assert told() == (count, 5, count)
    assert told(time.time() + 60) == (5, 5, 0)
    client.post(f"/review/keys/{batch}", json=[sent(0, "undo")])
    assert told() == (4, 5, 4)
    client.cookies.set("echomimic-annotator", "ben")
    assert told() == (0, 5, 0)
    assert client.get(f"/review/progress/{batch}?since=now").status_code == 400


def test_the_pace_is_one_number_wherever_it_is_told(client, filled, monkeypatch: pytest.MonkeyPatch):
    batch, moments_s = filled(4), itertools.count(time.time(), 6.0)
    monkeypatch.setattr("studio.review.store.time.time", lambda: next(moments_s))
    while items := client.get(f"/review/queue/{batch}").json()["items"]:
        client.post(f"/review/keys/{batch}", json=[sent(items[0]["item"], "good")])
    (pace,) = client.get(f"/review/agreement/{batch}").json()["pace"]
    assert pace["per_hour"] == client.get(f"/review/progress/{batch}").json()["per_hour"] > 0


def test_of_a_moments_work_no_pace_is_said(client, filled):
    batch = filled(2)
    item = client.get(f"/review/queue/{batch}").json()["items"][0]["item"]
    client.post(f"/review/keys/{batch}", json=[sent(item, "mark", issue="blur"), sent(item, "bad")])
    assert client.get(f"/review/progress/{batch}").json()["per_hour"] is None


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_another_sites_form_cannot_label(client, filled, content_type):
    answer = client.post(f"/review/keys/{filled(1)}", content="[]", headers={"content-type": content_type})
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["queue/99", "agreement/99"])
def test_a_batch_that_is_not_there_is_said(client, reviews, path):
    answer = client.get(f"/review/{path}")
    assert answer.status_code in (400, 404)


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "x" * 64, "0" * 64 + ".mp4"])
def test_only_clips_are_served(client, reviews, name):
    assert client.get(f"/review/clips/{name}").status_code == 404


ACCOUNTS = {
    "auth": {"lead": "secret", "ada": "secret"},
    "cookie_id": "page",
    "tokens": {"token-of-lead": "lead", "token-of-ada": "ada"},
}
"""What of Gradio's app tells who is logged in."""


def test_with_logins_only_who_is_logged_in_labels_and_only_the_first_exports(app, filled):
    batch = filled(1)
    for name, value in ACCOUNTS.items():
        setattr(app, name, value)
    with TestClient(app) as client:
        client.cookies.set("echomimic-annotator", "lead")
        refused = client.get(f"/review/queue/{batch}")
        assert (refused.status_code, refused.json()["login"]) == (403, "./")
        assert client.post(f"/review/keys/{batch}", json=[]).status_code == 403
        client.cookies.set("access-token-unsecure-page", "token-of-ada")
        assert client.get("/review/setup").json()["annotator"] == {"name": "ada", "lead": False, "chosen": False}
        assert client.get("/review/export/negatives.jsonl").status_code == 403
        client.cookies.set("access-token-unsecure-page", "token-of-lead")
        assert client.get("/review/export/negatives.jsonl").status_code == 200


def test_on_spaces_the_owner_leads_and_strangers_must_log_in(app, filled, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPACE_ID", "owner/space")
    batch = filled(1)
    with TestClient(app) as client:
        assert client.get(f"/review/queue/{batch}").json()["login"].startswith("login/huggingface")
    signed_in = {"oauth_info": {"userinfo": {"preferred_username": "owner"}}}

    # Gradio's login keeps its answer in the session.
    async def logged_in(scope, receive, send):
        scope["session"] = signed_in
        await app(scope, receive, send)

    assert TestClient(logged_in).get("/review/export/preferences.csv").status_code == 200
    signed_in["oauth_info"]["userinfo"]["preferred_username"] = "visitor"
    assert TestClient(logged_in).get(f"/review/queue/{batch}").status_code == 200
    assert TestClient(logged_in).get("/review/export/preferences.csv").status_code == 403


@pytest.mark.parametrize("number", [2**63, 10**30])
@pytest.mark.parametrize("path", ["queue/{}", "agreement/{}", "export/negatives.jsonl?batch={}", "progress/{}"])
def test_a_number_beyond_every_database_is_one_line(client, reviews, path, number):
    answer = client.get(f"/review/{path.format(number)}")
    assert answer.status_code == 400 and answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 200 + b"]" * 200,
        b'[{"client_id": "\\ud800", "item": 1, "kind": "note", "text": "\\udfff"}]',
        b'[{"client_id": "client-0000", "item": 9223372036854775808, "kind": "good"}]',
        b'[{"client_id": "client-0000", "item": NaN, "kind": "good"}]',
        b"\xff\xfe",
        b"",
        b"[" + b" " * 2**21 + b"]",
    ],
)
def test_what_no_browser_sends_is_one_line(client, filled, body):
    answer = client.post(f"/review/keys/{filled(1)}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 413) and answer.json()["error"]


def test_nothing_is_read_before_the_login(app, filled):
    batch = filled(1)
    for name, value in ACCOUNTS.items():
        setattr(app, name, value)
    long = b"[" + b" " * 2**21 + b"]"
    answer = TestClient(app).post(f"/review/keys/{batch}", content=long, headers={"content-type": "application/json"})
    assert answer.status_code == 403


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-real-ip"])
def test_who_comes_through_a_proxy_does_not_lead_without_a_login(client, reviews, name):
    assert client.get("/review/setup").json()["annotator"]["lead"]
    assert not client.get("/review/setup", headers={name: "192.0.2.1"}).json()["annotator"]["lead"]
    assert client.get("/review/export/preferences.csv", headers={name: "192.0.2.1"}).status_code == 403
