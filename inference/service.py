"""One network that serves the subvolumes of a whole worker process.

The threads of a worker segment one subvolume each. They hand their floods to the service, whose one thread
runs them all through the network in shared batches (`inference.executor`). Algorithm and state of a flood
are touched by that thread alone, so they need no locks; results do not depend on what shares a batch.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ffn.flood import FovRequest
from inference.executor import FloodTask, Predictor, run_floods

T = TypeVar("T")


class _Order(NamedTuple):
    """A flood that somebody waits for."""

    task: FloodTask[Any]
    future: Future[Any]


class FloodService:
    """Runs floods of many threads through one network.

    Args:
        predictor: the network.
        fov_zyx: its field of view (voxels).
        batch_size: most fields of view in one call of the network.
        floods_in_flight: most floods at a time; others wait.
    """

    def __init__(
        self,
        predictor: Predictor,
        fov_zyx: tuple[int, int, int],
        *,
        batch_size: int = 1,
        floods_in_flight: int | None = None,
    ) -> None:
        self._orders: queue.Queue[_Order | None] = queue.Queue()
        self._lock = threading.Lock()
        self._open: set[Future[Any]] = set()
        self._running = 0
        self._end: BaseException | None = None
        arguments = (predictor, fov_zyx, batch_size, floods_in_flight)
        self._thread = threading.Thread(target=self._serve, args=arguments, name="floods", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it takes orders; one whose network failed does not."""
        with self._lock:
            return self._end is None

    def run(self, task: FloodTask[T]) -> T:
        """Runs a flood and waits for its end.

        Args:
            task: the flood, see `inference.executor`.

        Returns:
            What the flood returns.

        Raises:
            Exception: what the flood raised, or what ended the service.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._end is not None:
                raise RuntimeError("the service has ended") from self._end
            self._open.add(future)
        self._orders.put(_Order(task, future))
        return future.result()

    def close(self) -> None:
        """Ends the service after the floods that run; waits for it."""
        self._orders.put(None)
        self._thread.join()

    def _serve(
        self,
        predictor: Predictor,
        fov_zyx: tuple[int, int, int],
        batch_size: int,
        floods_in_flight: int | None,
    ) -> None:
        end: BaseException = RuntimeError("the service was closed")
        try:
            for _ in run_floods(
                self._arriving(), predictor, fov_zyx, batch_size=batch_size, tasks_in_flight=floods_in_flight
            ):
                self._running -= 1
        except BaseException as error:  # whoever waits has to hear of it
            end = error
        with self._lock:
            self._end, waiting = end, list(self._open)
        for future in waiting:
            future.set_exception(end)

    def _arriving(self) -> Iterator[FloodTask[None] | None]:
        """The floods ordered; None while some run and no other has been ordered."""
        while True:
            try:
                order = self._orders.get(block=self._running == 0)
            except queue.Empty:
                yield None
                continue
            if order is None:
                return
            self._running += 1
            yield self._answering(order)

    def _answering(self, order: _Order) -> Generator[FovRequest, np.ndarray, None]:
        """The flood of an order; its end, good or bad, is told to who waits for it."""
        try:
            result = yield from order.task
        except GeneratorExit:
            raise
        except Exception as error:
            self._settle(order.future)
            order.future.set_exception(error)
        else:
            self._settle(order.future)
            order.future.set_result(result)

    def _settle(self, future: Future[Any]) -> None:
        with self._lock:
            self._open.discard(future)
