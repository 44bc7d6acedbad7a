"""A PostgreSQL server of our own, on a socket in a temporary folder, from Debian's package."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import create_engine, text

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
UNPRIVILEGED = ("postgres", "nobody")


def why_no_postgres() -> str | None:
    """What keeps a server from being started, or None."""
    if not BINARIES:
        return "PostgreSQL is not installed (Debian: apt install postgresql)"
    if os.geteuid() == 0 and (shutil.which("runuser") is None or _somebody() is None):
        return "PostgreSQL does not run as root, and there is nobody else to run it"
    return None


class PostgresServer:
    """Runs as long as its block."""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="pg"))
        self._run_as: list[str] = []
        if os.geteuid() == 0:
            user = _somebody()
            assert user is not None
            shutil.chown(self._folder, user)
            self._run_as = ["runuser", "-u", user, "--"]
        self._run("initdb", "-A", "trust", "-U", "reviewer", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories='{self._folder}'"
        self._run("pg_ctl", "-l", self._folder / "server.log", "-o", options, "-w", "start")
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)

    def new_database(self, name: str) -> str:
        """The URL of an empty database."""
        server = create_engine(self._url("postgres", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        server.dispose()
        return self._url(name, "postgresql")

    def _url(self, name: str, driver: str) -> str:
        return f"{driver}://reviewer@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [*self._run_as, BINARIES[-1] / program, "-D", self._folder / "data", *arguments]
        with (self._folder / "log").open("ab") as log:
            subprocess.run(command, check=True, cwd=self._folder, stdout=log, stderr=log)


def _somebody() -> str | None:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in UNPRIVILEGED if name in names), None)
