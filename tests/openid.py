"""A small OpenID provider, as Hugging Face is one: it vouches for whoever it was told to, in signed tokens."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

CODE = "a-code-for-"
"""A login's code is this with who it is and the nonce behind it."""


class Provider(ThreadingHTTPServer):
    """Knows the client's id and secret; its codes are `code(name, nonce)`."""

    def __init__(self, client_id: str, secret: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.client_id, self.secret = client_id, secret
        self.key = RSAKey.generate_key(2048, {"kid": "one"})

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @staticmethod
    def code(name: str, nonce: str) -> str:
        return f"{CODE}{name} {nonce}"

    def token(self, code: str) -> dict[str, Any]:
        name, nonce = code.removeprefix(CODE).split(" ")
        now_s = int(time.time())
        said = {"iss": self.address, "aud": self.client_id, "sub": name, "nonce": nonce}
        said |= {"preferred_username": name, "name": name.title(), "iat": now_s, "exp": now_s + 3600}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, said, self.key)
        return {"access_token": "t", "token_type": "bearer", "expires_in": 3600, "id_token": signed}


@contextmanager
def provider(client_id: str, secret: str) -> Iterator[Provider]:
    with Provider(client_id, secret) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        at = self.server.address
        if self.path == "/.well-known/openid-configuration":
            ways = {"authorization": "oauth/authorize", "token": "oauth/token", "userinfo": "oauth/userinfo"}
            said: dict[str, Any] = {f"{name}_endpoint": f"{at}/{path}" for name, path in ways.items()}
            self._say(
                said | {"issuer": at, "jwks_uri": f"{at}/jwks", "id_token_signing_alg_values_supported": ["RS256"]}
            )
        else:
            self._say({"keys": [self.server.key.as_dict(private=False)]})

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        pair = f"{self.server.client_id}:{self.server.secret}"
        right = self.headers["Authorization"] == f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._say(self.server.token(asked["code"][0]) if right else {"error": "invalid_client"})

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _say(self, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
