"""Logins outlive a restart, and nothing else: no other password, no account that is gone, no month that is over."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from studio.kept_logins import KEPT_S, LOGINS_NAME, keep_logins

ACCOUNTS = {"lead": "secret", "ada": "another"}


def started(folder: Path, accounts: dict[str, str] | None = None) -> SimpleNamespace:
    """What of Gradio's app a launch leaves behind."""
    app = SimpleNamespace(auth=dict(ACCOUNTS if accounts is None else accounts), tokens={}, cookie_id="random")
    keep_logins(app, folder)
    return app


def test_who_has_logged_in_still_is_after_a_restart(tmp_path: Path):
    first = started(tmp_path)
    first.tokens["one"], first.tokens["two"] = "lead", "ada"
    again = started(tmp_path)
    assert dict(again.tokens) == {"one": "lead", "two": "ada"} and again.cookie_id == first.cookie_id
    del again.tokens["one"]
    assert dict(started(tmp_path).tokens) == {"two": "ada"}
    assert os.stat(tmp_path / LOGINS_NAME).st_mode & 0o077 == 0


@pytest.mark.parametrize("accounts", [{"lead": "secret"}, {"lead": "secret", "ada": "changed"}])
def test_an_account_that_is_gone_or_has_another_password_must_log_in_again(tmp_path: Path, accounts):
    first = started(tmp_path)
    first.tokens["one"], first.tokens["two"] = "lead", "ada"
    assert dict(started(tmp_path, accounts).tokens) == {"one": "lead"}


def test_another_studios_file_and_a_damaged_one_log_nobody_in(tmp_path: Path):
    started(tmp_path / "here").tokens["one"] = "lead"
    (tmp_path / "there").mkdir()
    kept = (tmp_path / "here" / LOGINS_NAME).read_text()
    for text in (kept, kept[:-5], "[1]", '{"one": ["lead", 3]}', '{"one": ["lead", "é", 9e12]}'):
        (tmp_path / "there" / LOGINS_NAME).write_text(text)
        assert not started(tmp_path / "there").tokens


def test_a_login_of_last_month_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started(tmp_path).tokens["one"] = "lead"
    now_s = (tmp_path / LOGINS_NAME).stat().st_mtime
    monkeypatch.setattr("studio.kept_logins.time.time", lambda: now_s + KEPT_S + 60)
    assert not started(tmp_path).tokens


def test_without_accounts_nothing_is_kept(tmp_path: Path):
    app = SimpleNamespace(auth=None, tokens={}, cookie_id="random")
    keep_logins(app, tmp_path)
    assert app.cookie_id == "random" and not list(tmp_path.iterdir())
