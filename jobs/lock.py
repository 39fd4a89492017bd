"""One run at a time in one output directory.

Two runs that fill the same files would each undo what the other relies on. The lock is the operating system's
(`flock`): it ends with the process that holds it, however that ends, so nothing is left to clean up.
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
