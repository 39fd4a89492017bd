"""A flood under way: watched, stored every so often, and taken up again.

`watched` stands between a flood and the executor. It counts the fields of view and stores the canvas while
the flood waits for an answer, when its state is complete; a flood restored from there asks for the same
again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import numpy as np

from ffn.canvas import Canvas
from ffn.flood import FovRequest
from inference.executor import FloodTask
from jobs.pieces import CorruptPieceError, load_npz, save_npz

# Called with the voxels filled so far, those of them that were filled at the start, and the fields of view
# seen since then.
Report = Callable[[int, int, int], None]
_LOOK_EVERY_S = 1.0


class Watch:
    """Counts the fields of view of a canvas and reports how far the box in it is."""

    def __init__(self, canvas: Canvas, inner: tuple[slice, ...], report: Report | None) -> None:
        self.canvas, self.fovs = canvas, 0
        self._inner, self._report = inner, report
        self._started = self._last = time.monotonic()
        self.begin_at(0, 0.0)

    def begin_at(self, fovs: int, seconds: float) -> None:
        """Takes the canvas as it is for what is there at the start.

        Args:
          fovs: fields of view that earlier starts have seen.
          seconds: that they took.
        """
        self.fovs = self._fovs_before = fovs
        self._seconds_before, self._filled_before = seconds, self._filled()

    def count(self) -> None:
        """Notes that a field of view was seen."""
        self.fovs += 1
        if self._report is not None and time.monotonic() - self._last > _LOOK_EVERY_S:
            self.look()

    def counts(self) -> dict[str, float]:
        """Fields of view and seconds so far, those of earlier starts included."""
        return {
            "fovs": self.fovs,
            "seconds": round(self._seconds_before + time.monotonic() - self._started, 3),
        }

    def look(self) -> None:
        """Reports the voxels filled by now."""
        self._last = time.monotonic()
        if self._report is not None:
            self._report(self._filled(), self._filled_before, self.fovs - self._fovs_before)

    def _filled(self) -> int:
        return int(np.count_nonzero(self.canvas.segmentation[self._inner] > 0))


class Keeper:
    """Stores an unfinished canvas every so often, and takes it up again.

    Args:
      path: the file; None = not.
      seconds: time between two of them; 0 = not.
      made_from: what the canvas follows from.
      watch: of the canvas.
    """

    def __init__(
        self, path: Path | None, seconds: float, made_from: Mapping[str, object], watch: Watch
    ) -> None:
        self._path, self._seconds, self._watch = path if seconds > 0 else None, seconds, watch
        self._made_from = json.dumps(made_from, sort_keys=True)
        self._last = time.monotonic()

    def restore(self) -> None:
        """Continues what is stored, if the same settings made it; other leftovers do not count."""
        if self._path is None or not self._path.exists():
            return
        try:
            arrays = load_npz(self._path)
        except CorruptPieceError:
            return
        if str(arrays.pop("made_from")) == self._made_from:
            fovs, seconds = int(arrays.pop("fovs")), float(arrays.pop("seconds"))
            self._watch.canvas.restore(arrays)
            self._watch.begin_at(fovs, seconds)

    def keep(self) -> None:
        """Stores the canvas when it is time."""
        if self._path is None or time.monotonic() - self._last < self._seconds:
            return
        counts = {name: np.array(value) for name, value in self._watch.counts().items()}
        snapshot = self._watch.canvas.snapshot()
        save_npz(self._path, {"made_from": np.array(self._made_from), **counts, **snapshot}, compress=False)
        self._last = time.monotonic()


def watched(
    task: FloodTask[Canvas], watch: Watch, keeper: Keeper
) -> Generator[FovRequest, np.ndarray, Canvas]:
    """The same flood, counted and kept; see the module.

    Args:
      task: the flood.
      watch: counts its fields of view.
      keeper: stores its canvas when one is due.

    Returns:
      A task that asks for the same fields of view and returns the same canvas.
    """
    try:
        request = next(task)
        while True:
            logits = yield request
            watch.count()
            request = task.send(logits)
            keeper.keep()
    except StopIteration as end:
        canvas: Canvas = end.value
        return canvas
