"""The review tab's routes on a real store and a real web server, without the rest of the page.

`python -m tests.studio.review.small_server FOLDER PORT URL`. The server is a child process, whose id is printed; when
it is killed, the next one is started, as a supervisor would. Everything is imported before, so that it takes no time.
"""

import os
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


def supervise(folder: Path, port: int, url: str) -> None:
    while True:
        child = os.fork()
        if child == 0:
            serve(folder, port, url)
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
