"""A database that is damaged is said before it is used, and there is a copy of it from an earlier day.

A copy is made while the studio runs, complete and checked, once a day; the newest few are kept. Knows nothing about
what the tables hold.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.contract.errors import UserError
from studio.private_files import make_private, private_folder

COPIES = "copies"
MOST_COPIES = 5
SOUND = "ok"
log = logging.getLogger(__name__)


def check_database(path: Path, field: str) -> None:
    """Read through the SQLite file at `path`, if there is one. Raises UserError where it is damaged."""
    if not path.exists():
        return
    wrong = "it is empty" if path.stat().st_size == 0 and copies_of(path) else _what_is_wrong(path)
    if wrong is None:
        return
    copies = copies_of(path)
    names = f"{path.name}, {path.name}-wal and {path.name}-shm"
    then = f"then copy {copies[-1]}, its newest copy, to {path}" if copies else "a new one is made at the next start"
    raise UserError(f"The database {path} is damaged ({wrong}). Move {names} away; {then}, and start again.", field)


def copies_of(path: Path) -> list[Path]:
    """The copies of the database at `path`, the oldest first."""
    return sorted((path.parent / COPIES).glob(f"{path.stem}-????????{path.suffix}"))


def keep_daily_copy(path: Path) -> Path | None:
    """Copy the database at `path`, unless there is one of today or it is not there. What fails is logged."""
    target = path.parent / COPIES / f"{path.stem}-{time.strftime('%Y%m%d')}{path.suffix}"
    if not path.is_file() or target.is_file():
        return None
    fresh = target.with_suffix(".partial")
    try:
        private_folder(target.parent)
        fresh.unlink(missing_ok=True)
        with _opened(path) as source, contextlib.closing(sqlite3.connect(fresh)) as copy:
            make_private(fresh)
            source.backup(copy)
        wrong = _what_is_wrong(fresh)
        if wrong is not None:
            raise sqlite3.DatabaseError(wrong)
        fresh.replace(target)
    except (OSError, sqlite3.Error) as error:
        log.error("no copy of %s was made: %s", path, error)
        fresh.unlink(missing_ok=True)
        return None
    for old in copies_of(path)[:-MOST_COPIES]:
        old.unlink(missing_ok=True)
    return target


def _what_is_wrong(path: Path) -> str | None:
    """SQLite's first complaint, or None for a sound database."""
    try:
        with _opened(path) as database:
            (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
            return None if said == SOUND else " ".join(said.split())[:120]
    except sqlite3.OperationalError as error:  # locked, not readable: said by whoever opens it
        return str(error) if "malformed" in str(error) else None
    except sqlite3.DatabaseError as error:
        return str(error)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as database:
        yield database
