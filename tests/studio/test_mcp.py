"""The MCP server: closed without a login where logins are asked for, open and whole with one."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.studio.small_page import Page, Visitor, served

ACCOUNTS = [("lead", "secret"), ("ada", "secret")]
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
CALL = LIST | {"method": "tools/call", "params": {"name": "generate_candidates", "arguments": {}}}
ACCEPT = {"accept": "application/json, text/event-stream"}
with_logins = pytest.mark.parametrize("page", ["with logins"], indirect=True)


@pytest.fixture(scope="module", params=["without logins", "with logins"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    auth = ACCOUNTS if request.param == "with logins" else None
    with served(tmp_path_factory.mktemp("page"), auth=auth) as page:
        page.studio.worker.start()
        yield page
        page.studio.worker.stop()


def asked(page: Page, visitor: Visitor, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """The list of tools, then what each call answers."""

    async def ask() -> list[Any]:
        cookies = {cookie.name: cookie.value for cookie in visitor.client.cookies.jar}
        client = httpx.AsyncClient(cookies=cookies, timeout=60.0)
        address = f"{page.address}gradio_api/mcp/"
        async with (
            streamable_http_client(address, http_client=client) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return [(await session.list_tools()).tools, *[await session.call_tool(*call) for call in calls]]

    return asyncio.run(ask())


def inside(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_every_tool_works_for_who_may_use_it(page: Page, portrait: Path, voice: Path):
    lead = Visitor(page.address, ACCOUNTS[0] if page.blocks.auth else None)
    image, audio = inside(portrait, "image/jpeg"), inside(voice, "audio/wav")
    candidates = {"images": [image], "voices": [audio], "title": "Over MCP", "seeds": 2, "model": "nano"}
    tools, batch, video = asked(
        page,
        lead,
        ("generate_candidates", candidates),
        ("generate_talking_head", {"image": image, "audio": audio, "sampling_steps": 1}),
    )
    for tool in tools:
        Draft202012Validator.check_schema(tool.inputSchema)
        assert "$ref" not in json.dumps(tool.inputSchema), tool.name
    assert not batch.isError and "'clips': 2" in batch.content[0].text
    assert [each.title for each in page.review.store.batches()][:1] == ["Over MCP"]
    assert not video.isError and ".mp4" in video.content[0].text


@with_logins
def test_candidates_are_the_leads(page: Page, portrait: Path, voice: Path):
    wanted = {"images": [inside(portrait, "image/jpeg")], "voices": [inside(voice, "audio/wav")], "title": "Ada's"}
    _, refused = asked(page, Visitor(page.address, ACCOUNTS[1]), ("generate_candidates", wanted))
    assert refused.isError and "Only the lead" in refused.content[0].text
    assert "Ada's" not in {each.title for each in page.review.store.batches()}


@with_logins
@pytest.mark.parametrize("message", [LIST, CALL, LIST | {"method": "initialize", "params": {}}, {}])
@pytest.mark.parametrize("path", ["", "/", "/http", "/http/"])
def test_without_a_login_it_is_closed(page: Page, message: dict[str, Any], path: str):
    nobody = httpx.post(f"{page.address}gradio_api/mcp{path}", json=message, headers=ACCEPT, follow_redirects=True)
    assert nobody.status_code == 401 and "tools" not in nobody.text
    for there in ("/schema", "", "/"):
        assert httpx.get(f"{page.address}gradio_api/mcp{there}", follow_redirects=True).status_code == 401
