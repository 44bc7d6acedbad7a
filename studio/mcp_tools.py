"""The MCP server as this studio needs it: with logins, and with lists of files.

Gradio's own calls the API of its server without the caller's login, and describes a list of files by a reference that
leads nowhere. Both are put right in a class that takes its place.
"""

from typing import Any

import gradio.mcp
from gradio_client import Client
from starlette.requests import Request

MOST_CLIENTS = 16
ITEMS = "items"
FILE = {"type": "string", "format": "Gradio File Input - a http or https url to a file"}


class StudioMCPServer(gradio.mcp.GradioMCPServer):
    """Asks the API in the name of whoever calls, and takes lists of files."""

    def _get_or_create_client(self) -> Client:
        """A client of our own server with the caller's cookies, for what it uploads too; kept for their next call."""
        request: Request | None = self.mcp_server.request_context.request
        cookie = request.headers.get("cookie", "") if request is not None else ""
        if not cookie:
            return super()._get_or_create_client()
        kept: dict[str, Client] = self.__dict__.setdefault("_clients", {})
        if cookie not in kept:
            kept[cookie] = self._logged_in(cookie)
            while len(kept) > MOST_CLIENTS:
                kept.pop(next(iter(kept)))
        return kept[cookie]

    def _logged_in(self, cookie: str) -> Client:
        return Client(
            self.local_url or self.blocks.local_url,
            download_files=False,
            verbose=False,
            analytics_enabled=False,
            ssl_verify=False,
            _skip_components=False,
            headers={"x-gradio-user": "mcp", "cookie": cookie},
        )

    def simplify_filedata_schema(self, schema: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
        """The schema with files as addresses, and where they are; a file in a list is at `items`."""
        simple, positions = super().simplify_filedata_schema(schema)
        for *way, last in positions:
            place: Any = simple["properties"]
            for key in way:
                place = place[key]
            described = {name: value for name, value in place[last].items() if name in ("title", "description")}
            place[last] = FILE | described
        for described in simple["properties"].values():
            described.pop("$defs", None)
        return simple, positions

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        """The addresses in `value` as files, each one of a list too."""
        every: list[list[str | int]] = []
        for position in filedata_positions:
            name, *below = position
            given = value.get(name) if isinstance(value, dict) else None
            if below == [ITEMS] and isinstance(given, list):
                every += [[name, number] for number in range(len(given))]
            else:
                every.append(position)
        return super().convert_strings_to_filedata(value, every)


def install() -> None:
    """Let Gradio make this server where it would make its own."""
    gradio.mcp.GradioMCPServer = StudioMCPServer  # type: ignore[misc]
