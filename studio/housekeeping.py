"""Keeps the data folder: made, closed to other accounts, swept of what is old, copied once a day.

Knows nothing about the page.
"""

import logging
import threading
import time
from pathlib import Path

from platformdirs import user_data_path

from engine.contract.errors import UserError
from studio.jobs import JobStore
from studio.private_files import make_private, private_folder
from studio.safe_copies import keep_daily_copy

CLEAN_EVERY_S = 600.0
UPLOADS_KEPT_S = 24 * 3600.0
DATABASES = ("jobs.sqlite", "review/review.sqlite")
INSIDE = ("jobs", "review", "speakers", "uploads")
log = logging.getLogger(__name__)


def data_folder(asked: Path | None) -> Path:
    """The folder for everything, made and tried. Raises UserError where it cannot be written."""
    folder = (asked or user_data_path("echomimic-studio", appauthor=False)).expanduser().resolve()
    try:
        # A folder that was there before, and not ours, keeps its ways: it may be for others too.
        ours = not folder.exists() or not any(folder.iterdir()) or (folder / DATABASES[0]).is_file()
        folder.mkdir(parents=True, exist_ok=True)
        if ours:
            private_folder(folder)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
        for name in INSIDE:
            private_folder(folder / name)
        for path in (*folder.glob("*.sqlite*"), *folder.glob("*/*/training.json"), *folder.glob("review/*/*/*.json")):
            make_private(path)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"The data folder {folder} cannot be written ({reason}); choose another with --data."
        raise UserError(message, "data") from error
    return folder


def keep_house(store: JobStore, folder: Path, keep_s: float | None) -> None:
    """Begin to sweep and to copy, in a thread of its own."""
    thread = threading.Thread(target=_keep_on, args=(store, folder, keep_s), name="housekeeping", daemon=True)
    thread.start()


def _keep_on(store: JobStore, folder: Path, keep_s: float | None) -> None:
    while True:
        for name in DATABASES:
            keep_daily_copy(folder / name)
        # Not before a while: a machine that has just started may not know the time yet.
        time.sleep(CLEAN_EVERY_S)
        sweep(store, folder / "uploads", keep_s)


def sweep(store: JobStore, uploads: Path, keep_s: float | None) -> None:
    """Forget what ended, and was uploaded, longer ago than that.

    Uploads go after a day at the latest: a job has copies of its own.
    """
    try:
        if keep_s is not None:
            store.delete_older_than(keep_s)
        store.delete_uploads(uploads, min(keep_s or UPLOADS_KEPT_S, UPLOADS_KEPT_S))
    except Exception:  # a disk that is full now may have room at the next sweep
        log.exception("the data folder could not be swept")
