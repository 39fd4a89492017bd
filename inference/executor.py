"""Runs many floods at a time through one network, in batches.

A flood sees its fields of view one after the other, so a batch takes one from each of several floods.
Several batches may be on their way: while the device computes one, the host prepares the next.

What a flood asks for depends only on the answers it got. Results therefore depend neither on the batch
size nor on which floods share a batch, as long as the network treats each field of view of a batch alike.

Inputs are generators that yield `ffn.flood.FovRequest` and are sent logits, float32 (z, y, x) of the field of
view, such as `ffn.flood.flood` and `ffn.canvas.segment_all` make. Outputs are what they return.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

from ffn.flood import FovRequest

T = TypeVar("T")
FloodTask: TypeAlias = Generator[FovRequest, np.ndarray, T]


class Pending(Protocol):
    """A batch on its way through the network."""

    def result(self) -> np.ndarray:
        """The updated logits, float32 (n, z, y, x), once they are there."""


class Predictor(Protocol):
    """A network; `ffn.backend.Predictor` is one."""

    def submit(self, image: np.ndarray, logits: np.ndarray) -> Pending:
        """Starts one batch, float32 (n, z, y, x) each. The arrays do not change before `result` returned."""


def run_floods(
    tasks: Iterable[FloodTask[T] | None],
    predictor: Predictor,
    fov_zyx: tuple[int, int, int],
    *,
    batch_size: int = 1,
    batches_in_flight: int = 2,
    tasks_in_flight: int | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Iterator[T]:
    """Runs floods to their ends.

    Args:
        tasks: the floods; taken one by one as earlier ones end, so that a lazy iterable bounds the memory.
            None among them says that there is none at the moment; it is asked again after the next batch.
        predictor: the network.
        fov_zyx: its field of view (voxels).
        batch_size: most fields of view in one batch (>= 1); fewer only while fewer floods wait.
        batches_in_flight: batches started before the first answer is waited for (>= 1).
        tasks_in_flight: floods at a time (>= 1); as many as the batches in flight hold unless given.
        on_batch: called with the number of fields of view after every batch, while all floods wait: the
            moment to show progress or to store their state.

    Yields:
        What each flood returns, in the order in which they end.
    """
    floods = _Floods(tasks, tasks_in_flight or batch_size * batches_in_flight)
    free = [_Batch(batch_size, fov_zyx) for _ in range(batches_in_flight)]
    flying: deque[_Batch] = deque()
    while True:
        floods.admit()
        yield from floods.take_results()
        if free and (len(floods.waiting) >= batch_size or (floods.waiting and not flying)):
            flying.append(free.pop())
            flying[-1].submit(floods.take_waiting(batch_size), predictor)
        elif flying:
            batch = flying.popleft()
            answers = batch.answers()
            for task, logits in answers:
                floods.resume(task, logits)
            free.append(batch)
            if on_batch:
                on_batch(len(answers))
        elif floods.exhausted:
            return


class _Waiting(NamedTuple):
    """A flood and what it waits to see."""

    task: FloodTask[Any]
    request: FovRequest


class _Floods(Generic[T]):
    """The floods at work: what they wait for, the results of those that ended, and whether more will come."""

    def __init__(self, tasks: Iterable[FloodTask[T] | None], limit: int) -> None:
        self._source = iter(tasks)
        self._limit = limit
        self._results: list[T] = []
        self._running = 0
        self.waiting: deque[_Waiting] = deque()
        self.exhausted = False

    def admit(self) -> None:
        """Begins floods up to the limit; pauses when one ends at once, not to hold its result back."""
        while self._running < self._limit and not self._results:
            try:
                task = next(self._source)
            except StopIteration:
                self.exhausted = True
                return
            if task is None:
                return
            self._running += 1
            self.resume(task, None)

    def resume(self, task: FloodTask[T], logits: np.ndarray | None) -> None:
        """Sends a flood the answer it waits for (None to begin) and keeps its next request or its result."""
        try:
            request = next(task) if logits is None else task.send(logits)
        except StopIteration as end:
            self._running -= 1
            self._results.append(end.value)
        else:
            self.waiting.append(_Waiting(task, request))

    def take_waiting(self, most: int) -> list[_Waiting]:
        """Up to `most` waiting floods, those first that wait longest."""
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    def take_results(self) -> list[T]:
        results, self._results = self._results, []
        return results


class _Batch:
    """The buffers of one batch, used again and again, and the floods that wait for its answer."""

    def __init__(self, size: int, fov_zyx: tuple[int, int, int]) -> None:
        self._image = np.empty((size, *fov_zyx), np.float32)
        self._logits = np.empty((size, *fov_zyx), np.float32)

    def submit(self, waiting: list[_Waiting], predictor: Predictor) -> None:
        self._tasks = [task for task, _ in waiting]
        for i, (_, request) in enumerate(waiting):
            request.copy_into(self._image[i], self._logits[i])
        self._pending = predictor.submit(self._image[: len(waiting)], self._logits[: len(waiting)])

    def answers(self) -> list[tuple[FloodTask[Any], np.ndarray]]:
        """The floods of this batch with the logits for each, once they are there."""
        return list(zip(self._tasks, self._pending.result(), strict=True))
