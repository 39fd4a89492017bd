"""Numbered results that threads prepare before they are asked for, handed out strictly by number.

What comes out depends on the numbers alone, not on threads or timing. The work should free Python's global
lock most of the time (NumPy, SciPy and compiled functions do).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Made = TypeVar("Made")


class ReadAhead(Generic[Made]):
    """Results of a function of 0, 1, 2 …, some of them made ahead of time.

    Attributes:
      next: number of the result that `take` gives next.

    Args:
      make: the function; called from any thread, several at a time.
      ahead: how many results are made before they are asked for, at most.
      threads: that make them; 0: none, every result is made when it is asked for.
    """

    def __init__(self, make: Callable[[int], Made], ahead: int, threads: int) -> None:
        self._make, self._ahead = make, ahead if threads else 0
        self._pool = ThreadPoolExecutor(threads, "read-ahead") if self._ahead else None
        self._coming: deque[Future[Made]] = deque()
        self._failed: list[BaseException] = []
        self.next = 0

    def take(self) -> Made:
        """The next result.

        Raises:
          Exception: what `make` raised, for this number or for any that was prepared meanwhile.
        """
        if self._pool is None:
            made = self._make(self.next)
        else:
            self._order()
            made = self._coming.popleft().result()
            if self._failed:
                raise self._failed[0]
        self.next += 1
        if self._pool is not None:
            self._order()
        return made

    def seek(self, number: int) -> None:
        """Goes on from another number; what was prepared is dropped."""
        self._drop()
        self.next = number

    def close(self) -> None:
        """Ends the threads after what they are making now. May be called twice."""
        self._drop()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _order(self) -> None:
        """Has the threads make as many as are wanted ahead, and the one that is asked for."""
        assert self._pool is not None
        while len(self._coming) < self._ahead:
            future = self._pool.submit(self._make, self.next + len(self._coming))
            future.add_done_callback(self._note_failure)
            self._coming.append(future)

    def _note_failure(self, future: Future[Made]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._failed.append(error)

    def _drop(self) -> None:
        for future in self._coming:
            future.cancel()
        self._coming.clear()
