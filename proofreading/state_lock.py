"""The lock of the neurons' state, and the order in which locks are taken.

There is one order: the queue's lock, the state's lock, then a transaction that writes. An edit holds the
state's lock when it waits for its turn to write; SQLite gives one turn at a time. A thread that had its turn
and wanted the state's lock then would wait for that edit, and the edit for it. So whoever needs the neurons
in a transaction takes the lock first (`ProofreadingState.held`), and this lock refuses it to a thread that is
in a transaction and does not have it already: at once and always, not once in a while.
"""

from __future__ import annotations

import threading
from types import TracebackType

from agglomeration.database import Database


class StateLock:
    """A lock that its owner may take again; to be used as a context manager.

    Args:
      database: whose transactions come after it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.RLock()
        self._depth = threading.local()

    def __enter__(self) -> StateLock:
        """Raises RuntimeError: this thread is in a transaction that writes, and has not the lock."""
        depth = getattr(self._depth, "value", 0)
        if depth == 0 and self._database.is_writing:
            raise RuntimeError("the lock of the neurons is to be taken before a transaction, not in one")
        self._lock.acquire()
        self._depth.value = depth + 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth.value -= 1
        self._lock.release()
