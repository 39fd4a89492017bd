"""One run at a time in one output directory, and one writer at a time of one file.

Two runs that fill the same files would each undo what the other relies on. The locks are those of the
operating system (`flock`): they end with the process that holds them, however that ends, and nothing has to
be cleaned up.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import ReconstructionError


@contextmanager
def only_run_in(directory: Path) -> Iterator[None]:
    """Holds a directory for this process as long as the block lasts.

    Args:
        directory: is there and can be written to; gets an empty file `.lock`.

    Raises:
        ReconstructionError: another process holds it.
    """
    with (directory / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReconstructionError(
                f"another run works in {directory}; wait for it, or name another output directory"
            ) from error
        yield


@contextmanager
def only_writer_of(path: Path) -> Iterator[None]:
    """Keeps others from changing a file between reading and writing it; waits while another process does.

    Args:
        path: the file, which need not be there; its folder is made, and gets an empty file beside it.

    Raises:
        ReconstructionError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f".{path.name}.lock").open("a")
    except OSError as error:
        raise ReconstructionError(
            f"cannot write {path}: {error.strerror}; choose another output path"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
