"""Files that only their owner's account may read: the data folder, its databases, the secret of this studio.

On a system without such permissions nothing changes.
"""

import contextlib
import errno
import os
import secrets
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_DISK = "The studio's disk is full; make room, in the Library for one, and try again."
SECRET_NAME = "secret"
SECRET_BYTES = 32


def private_folder(path: Path) -> Path:
    """`path`, made with its parents where it is not there, closed to other accounts."""
    path.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    _close(path, FOLDER_MODE)
    return path


def make_private(path: Path) -> None:
    """Close a file that is there to other accounts."""
    _close(path, FILE_MODE)


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path`, complete or not at all, for this account alone."""
    fresh = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def kept_secret(folder: Path) -> bytes:
    """The folder's secret, made once and the same ever after."""
    folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    path = folder / SECRET_NAME
    kept = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if len(kept) != 2 * SECRET_BYTES:
        kept = secrets.token_hex(SECRET_BYTES)
        write_private(path, kept)
    make_private(path)
    return bytes.fromhex(kept)


def _close(path: Path, mode: int) -> None:
    with contextlib.suppress(OSError):  # another account's folder, or a file system without modes
        if path.stat().st_mode & 0o077:
            path.chmod(mode)


def size_of(folder: Path) -> int:
    """Bytes of the files in and below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
