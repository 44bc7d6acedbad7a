"""Opens the review database, SQLite or PostgreSQL, brought up to date by its migrations.

Knows nothing about labels. SQLite keeps what was committed through a power cut (WAL, every commit flushed); whoever
writes takes the write lock first, so that two writers wait for each other instead of failing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.orm import Session

from engine.contract.errors import UserError
from studio.safe_copies import check_database

MIGRATIONS = Path(__file__).parent / "migrations"
WAIT_S = 30
WRITES = "writes"


class Database:
    """An open review database. `url` is SQLAlchemy's; a plain postgresql:// uses psycopg."""

    def __init__(self, url: str) -> None:
        """Connects and migrates. Raises UserError where that is not possible."""
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise UserError(f"{url!r} is no database URL; give postgresql://user@host/name.", "labels") from None
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise UserError(f"Labels are kept in SQLite or PostgreSQL, not in {parsed.get_backend_name()}.", "labels")
        sqlite = parsed.get_backend_name() == "sqlite"
        if sqlite and parsed.database:
            check_database(Path(parsed.database), "labels")
        try:
            self._engine = create_engine(
                parsed,
                pool_pre_ping=not sqlite,
                connect_args={"timeout": WAIT_S, "isolation_level": None} if sqlite else {},
            )
            if sqlite:
                event.listen(self._engine, "connect", _set_pragmas)
                event.listen(self._engine, "begin", _begin_sqlite)
            with self._engine.execution_options(**{WRITES: True}).begin() as connection:
                migrate(connection)
        except (DatabaseError, NoSuchModuleError) as error:
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            shown = parsed.render_as_string(hide_password=True)
            raise UserError(f"The database {shown} cannot be opened ({reason}).", "labels") from error
        self._writer = self._engine.execution_options(**{WRITES: True})
        # Several queries of one reader see one moment; SQLite's readers always do.
        self._reader = self._engine if sqlite else self._engine.execution_options(isolation_level="REPEATABLE READ")
        self.is_sqlite = sqlite

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads, and sees one moment."""
        with Session(self._reader) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is committed when its block ends without an error."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to `revision`, forwards."""
    command.upgrade(migration_config(connection), revision)


def migration_config(connection: Connection) -> Config:
    """Alembic's configuration for an open connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _set_pragmas(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
