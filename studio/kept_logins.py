"""Logins with `--auth` that outlive a restart: kept in the data folder, for this account's eyes, until they are old.

Gradio keeps them in memory and names its cookie anew with each start, so that a restart logs everybody out. A login is
dropped where its account is gone or has another password.
"""

import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.private_files import kept_secret, write_private

LOGINS_NAME = "logins.json"
KEPT_S = 30 * 24 * 3600.0
MOST_LOGINS = 2000


class KeptLogins(dict[str, str]):
    """The accounts by their tokens, as Gradio asks for them; what is set or deleted is written down."""

    def __init__(self, path: Path, secret: bytes, accounts: Mapping[str, str]) -> None:
        self._path, self._secret, self._accounts = path, secret, accounts
        self._since_s: dict[str, float] = {}
        now_s = time.time()
        for token, (account, seal, since_s) in _read(path).items():
            same = hmac.compare_digest(seal.encode(), self._seal(account).encode())
            if now_s - since_s < KEPT_S and account in accounts and same:
                super().__setitem__(token, account)
                self._since_s[token] = since_s

    def __setitem__(self, token: str, account: str) -> None:
        while len(self) >= MOST_LOGINS:
            super().__delitem__(next(iter(self)))
        super().__setitem__(token, account)
        self._since_s[token] = time.time()
        self._write()

    def __delitem__(self, token: str) -> None:
        super().__delitem__(token)
        self._write()

    def _write(self) -> None:
        kept = {token: (account, self._seal(account), self._since_s[token]) for token, account in self.items()}
        write_private(self._path, json.dumps(kept))

    def _seal(self, account: str) -> str:
        """Another one when the account's password is another; tells nothing of it."""
        words = f"login {account} {self._accounts.get(account, '')}"
        return hmac.new(self._secret, words.encode(), hashlib.sha256).hexdigest()


def keep_logins(app: Any, folder: Path) -> None:
    """Let the logins of Gradio's `app`, launched with accounts, be those that `folder` keeps."""
    if isinstance(app.auth, dict):
        secret = kept_secret(folder)
        app.cookie_id = hmac.new(secret, b"login cookie", hashlib.sha256).hexdigest()[:32]
        app.tokens = KeptLogins(folder / LOGINS_NAME, secret, app.auth)


def _read(path: Path) -> dict[str, tuple[str, str, float]]:
    """What is written, or nothing where it is damaged: people then log in once more."""
    found: dict[str, tuple[str, str, float]] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        for token, (account, seal, since_s) in json.loads(path.read_text(encoding="utf-8")).items():
            found[str(token)] = (str(account), str(seal), float(since_s))
    return found
