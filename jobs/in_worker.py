"""What a piece of work may ask of the worker that runs it: to keep things for the next, and to show progress.

Both work outside a worker, too: what is kept is kept for the process, and reports go nowhere. So a piece is
an ordinary function, which a test can call.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

_REPORT_EVERY_S = 0.5


class PieceStopped(Exception):
    """The run that this piece belongs to is over; raised where a piece reports, to end it."""


class PieceEnd(NamedTuple):
    """What a finished piece sends back: its result, the figures it reported last, and what it had found."""

    result: Any
    figures: dict[str, float]
    found: float = 0.0


class Reporter(Protocol):
    """Takes reports of one piece; see `report_progress`."""

    def __call__(self, done: float, /, *, found: float = 0.0, **figures: float) -> None: ...


class _Kept:
    """Something a process keeps, with the lock under which it is made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: Any = None
        self.is_made = False
        self.close: Callable[[Any], None] | None = None


_kept: dict[Hashable, _Kept] = {}
_kept_lock = threading.Lock()
_current = threading.local()


def per_worker(
    key: Hashable,
    make: Callable[[], T],
    *,
    usable: Callable[[T], bool] | None = None,
    close: Callable[[T], None] | None = None,
) -> T:
    """Gives what this process keeps under `key`; makes it first where it is missing.

    Of several threads that ask at the same time one makes it and the others wait. When `make` raises, nothing
    is kept and the next to ask tries again.

    Args:
        key: everything that the thing follows from, such as ("network", digest of the weights).
        make: makes it: loads a network, opens a volume.
        usable: whether it can still be used; made anew when not. None: it always can.
        close: what to do with it when the pool of this process is closed without an error.

    Returns:
        The thing; the same one for all threads of the process.
    """
    with _kept_lock:
        kept = _kept.setdefault(key, _Kept())
    with kept.lock:
        if not kept.is_made or (usable is not None and not usable(kept.value)):
            kept.is_made = False
            kept.value, kept.close = make(), close
            kept.is_made = True
        return kept.value


def forget_kept(*, close: bool) -> None:
    """Lets go of all that `per_worker` keeps; closes it first when asked to."""
    with _kept_lock:
        everything = list(_kept.values())
        _kept.clear()
    for kept in everything:
        if close and kept.is_made and kept.close is not None:
            kept.close(kept.value)


def current_reporter() -> Reporter:
    """Gives the `report_progress` of the piece that runs in this thread, for use in any other thread.

    Returns:
        A function that takes what `report_progress` takes; one that does nothing outside a piece.
    """
    reporter: Reporter = getattr(_current, "reporter", _report_nowhere)
    return reporter


def report_progress(done: float, /, *, found: float = 0.0, **figures: float) -> None:
    """Shows how far the piece is that runs in this thread; cheap enough to be called at every step.

    Does nothing outside a piece. What work a piece hands to another thread reports through
    `current_reporter`.

    Args:
        done: how much of the piece's weight is done so far, in its unit; more than all of it is all of it.
        found: how much of that an earlier run had done, which says nothing of how fast this one is.
        figures: counts so far in this piece; the display adds them up over all pieces.

    Raises:
        PieceStopped: the run is over, and nobody waits for the piece.
    """
    current_reporter()(done, found=found, **figures)


def report_found() -> None:
    """Says that the whole piece was done before, as `report_progress` does."""
    report_progress(math.inf, found=math.inf)


def run_piece(function: Callable[..., Any], arguments: tuple[Any, ...], topic: str, place: int) -> PieceEnd:
    """Runs a piece inside a Dask worker; the pool's own task.

    Args:
        function: the work.
        arguments: its arguments.
        topic: where reports go.
        place: position of the piece in the run; goes into its reports.

    Returns:
        The function's result, with what was reported last.
    """
    reporter = _WorkerReporter(topic, place)
    _current.reporter = reporter
    try:
        return PieceEnd(function(*arguments), reporter.figures, reporter.found)
    finally:
        del _current.reporter


class _WorkerReporter:
    """Sends the reports of one piece to the client, a few per second, and ends the piece with its run."""

    def __init__(self, topic: str, place: int) -> None:
        from distributed import get_worker

        self._worker = get_worker()
        self._task = self._worker.get_current_task()
        self._topic, self._place = topic, place
        self._next = 0.0
        self.figures: dict[str, float] = {}
        self.found = 0.0

    def __call__(self, done: float, /, *, found: float = 0.0, **figures: float) -> None:
        self.figures, self.found = _plain(figures), float(found)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REPORT_EVERY_S
        if self._is_stopped():
            raise PieceStopped("the run is over")
        self._worker.log_event(self._topic, (self._place, float(done), self.found, self.figures))

    def _is_stopped(self) -> bool:
        task = self._worker.state.tasks.get(self._task)
        return task is None or task.state == "cancelled" or self._worker.status.name in ("closing", "closed")


def _plain(figures: Mapping[str, float]) -> dict[str, float]:
    """Numbers that travel: without NumPy's types, whole ones still whole."""
    return {name: int(value) if value == int(value) else float(value) for name, value in figures.items()}


def _report_nowhere(_done: float, /, *, found: float = 0.0, **_figures: float) -> None:
    """Outside a worker nobody listens."""
