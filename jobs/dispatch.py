"""Handing out pieces of work: as many at a time as there are threads, and failed ones again, but not forever.

A pool (`jobs.workers`) brings a Dask client; this module keeps its workers busy until every piece is done or
has failed for good. It hands out as many pieces as there are threads, so that a run of a million needs no
more memory than one of ten, and the death of a worker concerns no piece that only waited. A piece that fails
is tried again at the end of the queue; the death of a worker counts as a failure of the pieces it was at.
"""

from __future__ import annotations

import asyncio
import math
import queue
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from distributed import Client, Future, KilledWorker

from configs.errors import ReconstructionError, WorkError
from jobs.in_worker import PieceEnd, run_piece
from jobs.pieces import PieceError
from jobs.run_progress import RunProgress
from volumes.errors import VolumeError

Figures = Mapping[str, float | int | str]

_LOOK_EVERY_S = 2.0
_NO_WORKER_S = 60.0
_SCHEDULER_GONE = "the scheduler is gone; start it and run the same command again"


class WorkerError(ReconstructionError):
    """Workers that cannot be had: a scheduler that does not answer, processes that do not start."""


class Failure(NamedTuple):
    """A piece that failed as often as it may: its name, the last error on one line, and its attempts."""

    name: str
    error: str
    attempts: int


class PieceFailures(WorkError):
    """Pieces that failed while all others were done.

    Attributes:
        failures: them, in the order of the pieces.
    """

    def __init__(self, failures: Sequence[Failure], pieces: int) -> None:
        self.failures = list(failures)
        lines = [f"{each.name} (tried {each.attempts} times): {each.error}" for each in self.failures]
        head = f"{len(lines)} of {pieces} pieces failed; run the same command again for these alone:"
        super().__init__("\n  ".join([head, *lines]))


class Piece(NamedTuple):
    """One call of the function a pool maps.

    Attributes:
        name: how it is called in errors; unique in a run.
        arguments: of the call; small, since they travel.
        weight: how much work it is, in the unit of the progress display.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    weight: int = 1


class _Report(NamedTuple):
    """What a running piece reported."""

    place: int
    done: float
    found: float
    figures: dict[str, float]


class _End(NamedTuple):
    """An attempt at a piece is over."""

    place: int
    future: Future


class Tally:
    """What is done, over finished and running pieces."""

    def __init__(
        self,
        progress: RunProgress | None,
        pieces: Sequence[Piece],
        show: Callable[[dict[str, float]], Figures],
    ) -> None:
        self._progress, self._pieces, self._show = progress, pieces, show
        self._partial: dict[int, _Report] = {}
        self._sums: dict[str, float] = {}

    def report(self, report: _Report) -> None:
        """A running piece is so far now; None of it is, when it failed."""
        if self._progress is None:
            return
        before = self._partial.get(report.place, _Report(report.place, 0, 0, {}))
        weight = self._pieces[report.place].weight
        done, found = (max(0, math.floor(min(n, weight))) for n in (report.done, report.found))
        self._partial[report.place] = report._replace(done=done, found=found)
        for name in {*before.figures, *report.figures}:
            change = report.figures.get(name, 0) - before.figures.get(name, 0)
            self._sums[name] = self._sums.get(name, 0) + change
        self._progress.note(**self._show(dict(self._sums)))
        self._progress.advance(int(done - before.done), found=int(found - before.found))

    def finish(self, place: int, end: PieceEnd) -> None:
        """A piece is done."""
        self.report(_Report(place, self._pieces[place].weight, end.found, end.figures))
        self._partial.pop(place, None)
        if self._progress is not None:
            self._progress.end_piece()

    def withdraw(self, place: int) -> None:
        """A piece failed: nothing of it is done."""
        self.report(_Report(place, 0, 0, {}))
        self._partial.pop(place, None)

    def say(self, line: str) -> None:
        """Prints a line above the display."""
        if self._progress is not None:
            self._progress.write(line)


class Slots:
    """How many pieces to have handed out: looked up again every few seconds, since workers come and go.

    Args:
        client: of the workers.
        is_local: whether they are processes of this machine that the pool started. Elsewhere more pieces are
            handed out than there are threads, so that a cluster that grows with the work sees some.
        say: prints a line for the user.
    """

    def __init__(self, client: Client, is_local: bool, say: Callable[[str], None]) -> None:
        self._client, self._is_local, self._say = client, is_local, say
        self._threads = 0
        self._looked = -math.inf
        self._seen = time.monotonic()
        self._said = False

    def count(self) -> int:
        """Pieces to have handed out at this moment, at least 1.

        Raises:
            WorkerError: no worker of this machine came back in a minute, or the scheduler is gone.
        """
        if time.monotonic() - self._looked >= _LOOK_EVERY_S:
            self._look()
        return max(1, self._threads) if self._is_local else max(16, 2 * self._threads)

    def _look(self) -> None:
        try:
            self._threads = sum(self._client.nthreads().values())
        except (OSError, RuntimeError, ValueError, asyncio.TimeoutError) as error:
            raise WorkerError(_SCHEDULER_GONE) from error
        self._looked = time.monotonic()
        if self._threads:
            self._seen, self._said = self._looked, False
        elif self._is_local and self._looked - self._seen > _NO_WORKER_S:
            raise WorkerError("no worker process comes up again; run with --workers 1 to see why")
        elif not self._is_local and not self._said:
            self._said = True
            self._say("note: the scheduler has no workers; waiting for some to join")


class Run:
    """One map over pieces: what waits, what is being worked on, and what came of the rest.

    Args:
        client: of the workers.
        is_local: whether the pool started them.
        retries: how often a piece that fails is tried again.
        function: the work.
        pieces: its calls; their names differ.
        tally: what is told of it.
    """

    def __init__(
        self,
        client: Client,
        is_local: bool,
        retries: int,
        function: Callable[..., Any],
        pieces: Sequence[Piece],
        tally: Tally,
    ) -> None:
        assert len({piece.name for piece in pieces}) == len(pieces), "two pieces of one name"
        self._client, self._tries = client, retries + 1
        self._function, self._pieces, self._tally = function, pieces, tally
        self._slots = Slots(client, is_local, tally.say)
        self._topic = f"pieces-{secrets.token_hex(4)}"
        self._waiting = deque(range(len(pieces)))
        self._running: dict[int, Future] = {}
        self._events: queue.SimpleQueue[_End | _Report] = queue.SimpleQueue()
        self._results: list[Any] = [None] * len(pieces)
        self._failed: dict[int, list[BaseException]] = {}

    def go(self, on_result: Callable[[Piece, Any], None] | None) -> list[Any]:
        """Works until nothing waits or runs; raises and returns what `Pool.map` does."""
        self._client.subscribe_topic(self._topic, self._heard)
        try:
            while self._waiting or self._running:
                self._hand_out()
                place = self._next_done()
                if place is not None and on_result is not None:
                    on_result(self._pieces[place], self._results[place])
        finally:
            self._abandon()
        self._raise_failures()
        return self._results

    def _hand_out(self) -> None:
        """Submits pieces until there are as many as there should be."""
        free = self._slots.count() - len(self._running)
        for _ in range(min(free, len(self._waiting))):
            place = self._waiting.popleft()
            key = f"{self._topic}-{place}-{len(self._failed.get(place, ()))}"
            arguments = (self._function, self._pieces[place].arguments, self._topic, place)
            future = self._client.submit(run_piece, *arguments, key=key, pure=False)
            self._running[place] = future
            future.add_done_callback(lambda ended, place=place: self._events.put(_End(place, ended)))

    def _heard(self, event: tuple[float, tuple[int, float, float, dict[str, float]]]) -> None:
        """Takes a report in the client's own thread."""
        self._events.put(_Report(*event[1]))

    def _next_done(self) -> int | None:
        """Waits for an event, for a while; the place of a piece when that is its good end."""
        try:
            event = self._events.get(timeout=_LOOK_EVERY_S)
        except queue.Empty:
            return None
        if isinstance(event, _End):
            del self._running[event.place]
            return self._settle(*event)
        if event.place in self._running:
            self._tally.report(event)
        return None

    def _settle(self, place: int, future: Future) -> int | None:
        """Takes what came of an attempt; the place of the piece when it is done."""
        if future.cancelled():
            raise WorkerError(_SCHEDULER_GONE)
        try:
            end: PieceEnd = future.result()
        except Exception as error:
            if _concerns_all(error):
                raise
            self._note_failure(place, error)
            return None
        self._results[place] = end.result
        self._failed.pop(place, None)
        self._tally.finish(place, end)
        return place

    def _note_failure(self, place: int, error: Exception) -> None:
        """Puts a piece at the end of the queue, unless it has failed too often."""
        errors = self._failed.setdefault(place, [])
        errors.append(error)
        self._tally.withdraw(place)
        if len(errors) < self._tries:
            again = f"trying again ({len(errors)} of {self._tries} failed)"
            self._tally.say(f"note: {self._pieces[place].name}: {one_line(error)}; {again}")
            self._waiting.append(place)

    def _raise_failures(self) -> None:
        failures = [
            Failure(self._pieces[place].name, one_line(errors[-1]), len(errors))
            for place, errors in sorted(self._failed.items())
        ]
        if failures:
            first = self._failed[min(self._failed)][-1]
            raise PieceFailures(failures, len(self._pieces)) from first

    def _abandon(self) -> None:
        """Lets go of what still runs, so that the workers of a scheduler are free for others."""
        with suppress(Exception):
            self._client.unsubscribe_topic(self._topic)
            if self._running:
                self._client.cancel(list(self._running.values()))


def _concerns_all(error: Exception) -> bool:
    """Whether every piece would meet this error: it is not about one piece, or a file that may come back."""
    return isinstance(error, ReconstructionError) and not isinstance(error, (PieceError, VolumeError))


def one_line(error: BaseException) -> str:
    """What a user reads about an error."""
    if isinstance(error, KilledWorker):
        return "the worker died (out of memory, or killed)"
    text = " ".join(str(error).split())
    if isinstance(error, ReconstructionError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
