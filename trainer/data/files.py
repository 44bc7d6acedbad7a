"""Files of a preparation: each appears whole under its name or not at all, and a full disk is said in one sentence.

Whoever is killed leaves `*.partial` files behind, which `sweep` removes. Knows nothing about what is written.
"""

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine.contract.errors import UserError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What an OSError says where a disk is full, or a file as large as it may be."""


class DiskFull(UserError):
    """What a preparation writes does not fit. Never held against the clip that was being worked on."""


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path` when the block ends without an exception.

    Raises DiskFull where there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with room(path):
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".partial", delete=False)  # noqa: SIM115
        handle.close()
    partial = Path(handle.name)
    try:
        with room(path):
            yield partial
            partial.chmod(0o644)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def room(path: Path) -> Iterator[None]:
    """Turns "no space" of what is written to `path` in the block into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DiskFull(
            f"There is no room for {path} ({error.strerror}): free some space, then run the same command again; it "
            "goes on where it stopped.",
            "out",
        ) from error


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written under `folder`."""
    for partial in folder.rglob(".*.partial"):
        partial.unlink(missing_ok=True)


def writable_folder(path: Path) -> Path:
    """`path`, made where it does not exist. Raises UserError where nothing can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"The folder {path} cannot be written ({error.strerror}); choose another.") from None
    return path
