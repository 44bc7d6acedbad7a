"""The Space: what its README asks of Hugging Face is what the page needs, and people can log in and label."""

import importlib.util
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import httpx
import pytest
import yaml

from tests.openid import Provider, provider
from tests.serving import ROOT, free_port, serving

SPEC = importlib.util.spec_from_file_location("space_build", ROOT / "space" / "build.py")
build = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build)
LOGINS = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")


def test_the_readme_asks_for_logins_and_says_nothing_that_is_not_yaml():
    front = yaml.safe_load((ROOT / "README.md").read_text().split("---")[1])
    assert front["hf_oauth"] is True
    assert {name: str(value) for name, value in front.items() if name != "hf_oauth"} == {
        name: value for name, value in build.front_matter(ROOT).items() if name != "hf_oauth"
    }


@pytest.mark.parametrize("asked", ["true", "false"])
def test_a_space_whose_readme_asks_for_no_logins_gets_none(tmp_path: Path, asked: str):
    (tmp_path / "README.md").write_text(f"---\ntitle: One\nhf_oauth: {asked}\n---\n")
    variables = build.spaces_variables(tmp_path, 7860)
    assert [name in variables for name in LOGINS] == [asked == "true"] * 4
    assert variables["SYSTEM"] == "spaces" and variables["SPACE_ID"].split("/")[0] == variables["SPACE_AUTHOR_NAME"]


def log_in(client: httpx.Client, trusted: Provider, name: str) -> None:
    """The whole way: to the provider, and back with its code, which the Space has signed for."""
    sent = client.get("/login/huggingface?_target_url=/")
    asked = parse_qs(urlparse(sent.headers["location"]).query)
    back = urlparse(asked["redirect_uri"][0])
    assert back.netloc == build.spaces_variables(ROOT, 0)["SPACE_HOST"] and asked["scope"] == ["openid profile"]
    cookie = {"Cookie": sent.headers["set-cookie"].partition(";")[0]}
    answer = {"state": asked["state"][0], "code": trusted.code(name, asked["nonce"][0])}
    there = client.get(f"{back.path}?{back.query}", params=answer | parse_qs(back.query), headers=cookie)
    assert there.status_code in (302, 307)
    client.headers["Cookie"] = there.headers["set-cookie"].partition(";")[0]


def test_on_a_space_the_owner_logs_in_and_leads_and_a_visitor_labels(tmp_path: Path):
    port = free_port()
    variables = build.spaces_variables(ROOT, port)
    command = ("-m", "tests.studio.small_engine", str(tmp_path / "data"), str(tmp_path / "none"), str(port), "0")
    (tmp_path / "none").mkdir()
    with provider(variables["OAUTH_CLIENT_ID"], variables["OAUTH_CLIENT_SECRET"]) as trusted:
        variables["OPENID_PROVIDER_URL"] = trusted.address
        with (
            serving(*command, port=port, log=tmp_path / "server.log", **variables),
            httpx.Client(base_url=f"http://127.0.0.1:{port}") as visitor,
            httpx.Client(base_url=f"http://127.0.0.1:{port}") as owner,
        ):
            page = visitor.get("/config").json()
            assert build.LOGIN_BUTTON in {part["props"].get("elem_id") for part in page["components"]}
            refused = visitor.get("/review/setup")
            assert (refused.status_code, refused.json()["login"]) == (403, "login/huggingface?_target_url=/")
            log_in(visitor, trusted, "somebody")
            log_in(owner, trusted, "someone")
            for client, name, leads in ((visitor, "somebody", False), (owner, "someone", True)):
                assert client.get("/review/setup").json()["annotator"] == {"name": name, "lead": leads, "chosen": False}
                assert client.get("/review/export/negatives.jsonl").status_code == (200 if leads else 403)
