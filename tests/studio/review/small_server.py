"""The review tab's routes on a real store and a real web server, without the rest of the page.

`python -m tests.studio.review.small_server FOLDER PORT URL`; answers until it is killed.
"""

import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from studio.review.clips import ClipFolder
from studio.review.database import Database
from studio.review.issues import read_issues
from studio.review.routes import ReviewRoutes
from studio.review.store import ReviewStore


def serve(folder: Path, port: int, url: str) -> None:
    store = ReviewStore(Database(url), read_issues())
    routes = ReviewRoutes(store, ClipFolder(folder / "clips", store))
    uvicorn.run(Starlette(routes=[routes.mount()]), port=port, log_level="error")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
