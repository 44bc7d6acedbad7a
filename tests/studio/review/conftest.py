"""A review store on SQLite, and on a PostgreSQL server that the tests start for themselves."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.store import Clip, ReviewStore
from tests.studio.review.small_clips import small_clip

POSTGRES_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
UNPRIVILEGED = ("postgres", "nobody")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL, without a database's name, of a cluster of our own that listens on a socket in a folder only."""
    if not POSTGRES_BINARIES:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        run_as = _somebody_but_root(folder)
        data = folder / "data"

        def run(program: str, *arguments: str | Path) -> None:
            command = [*run_as, POSTGRES_BINARIES[-1] / program, "-D", data, *arguments]
            with (folder / "log").open("ab") as log:
                subprocess.run(command, check=True, cwd=folder, stdout=log, stderr=log)

        run("initdb", "-A", "trust", "-U", "reviewer", "--no-sync", "-E", "UTF8")
        server = f"-c listen_addresses='' -c unix_socket_directories='{folder}'"
        run("pg_ctl", "-l", folder / "server.log", "-o", server, "-w", "start")
        try:
            yield f"postgresql://reviewer@/{{name}}?host={folder}"
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")


def _somebody_but_root(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: the folder is given to somebody else, whom this command makes run it."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in UNPRIVILEGED if name in names), None)
    if user is None or shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is nobody else to run it")
    shutil.chown(folder, user)
    return ["runuser", "-u", user, "--"]


@pytest.fixture
def postgres_url(postgres: str, request: pytest.FixtureRequest) -> str:
    """An empty database."""
    name = f"review_{abs(hash(request.node.nodeid))}"
    server = create_engine(
        postgres.format(name="postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    return postgres.format(name=name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'review.sqlite'}"


@pytest.fixture
def reviews(url: str) -> Iterator[ReviewStore]:
    """An empty store, on either database."""
    database = Database(url)
    yield ReviewStore(database, read_issues())
    database.close()


@pytest.fixture
def filled(reviews: ReviewStore) -> Callable[..., int]:
    """Makes a batch of `count` clips; returns its id."""

    def fill(count: int, overlap: int = 1, **options: object) -> int:
        batch = reviews.add_batch("Batch", "lead", overlap=overlap)
        clips: list[Clip] = [small_clip(index) for index in range(count)]
        for clip in clips:
            reviews.keep_clip(clip)
        reviews.add_items(batch.id, [(clip.id, None) for clip in clips], **options)  # type: ignore[arg-type]
        return batch.id

    return fill
