"""Timing a run next to the bare network, so that what the machine does meanwhile hits both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from ffn.backend import Prediction, Predictor

_BARE_SHARE = 0.2  # of the time of a run that goes into timing the bare network beside it


class Clock:
    """Adds up the seconds spent inside its `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        self.seconds += time.perf_counter() - self._entered


class WatchedPredictor:
    """A predictor that notes in `clock` how long its caller waited for it."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.clock = Clock()

    def submit(self, image: np.ndarray, logits: np.ndarray) -> WatchedPrediction:
        with self.clock:
            return WatchedPrediction(self._predictor.submit(image, logits), self.clock)


class WatchedPrediction:
    """The answer of a `WatchedPredictor`."""

    def __init__(self, prediction: Prediction, clock: Clock) -> None:
        self._prediction, self._clock = prediction, clock

    def result(self) -> np.ndarray:
        with self._clock:
            return self._prediction.result()


class Stopwatch:
    """Times a run, and now and then the bare network in between; call it after every batch of the run.

    Args:
      bare: runs one batch through the bare network and returns its seconds.
      batch: fields of view in that batch.
    """

    def __init__(self, bare: Callable[[], float], batch: int) -> None:
        self._bare, self._batch = bare, batch
        self._samples_s = [bare()]
        self._apart = Clock()
        self.fovs = 0
        self._started = time.perf_counter()

    def __call__(self, fovs: int = 1) -> None:
        self.fovs += fovs
        if self._apart.seconds < _BARE_SHARE * self.seconds:
            with self._apart:
                self._samples_s.append(self._bare())

    @property
    def seconds(self) -> float:
        """Of the run itself so far."""
        return time.perf_counter() - self._started - self._apart.seconds

    def reading(self, extra_s: float = 0.0) -> dict[str, float]:
        """{fovs, ms per field of view, overhead over the bare network}; `extra_s` belongs to the run too."""
        milliseconds = 1e3 * (self.seconds + extra_s) / self.fovs
        beside = 1e3 * median(self._samples_s) / self._batch
        return {"fovs": self.fovs, "ms": milliseconds, "overhead": milliseconds / beside}
