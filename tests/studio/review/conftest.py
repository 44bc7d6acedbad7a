"""A review store on SQLite, and on a PostgreSQL server that the tests start for themselves."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.store import Clip, ReviewStore
from tests.studio.review.postgres import PostgresServer, why_no_postgres
from tests.studio.review.small_clips import small_clip

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if missing := why_no_postgres():
        pytest.skip(missing)
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.new_database(f"review_{next(_numbers)}")


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
