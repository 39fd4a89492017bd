"""The log of a training: `log.csv`, event files for TensorBoard beside it, a table on the terminal.

What was logged after the checkpoint that a run is continued from is dropped, since it happens again.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping
from pathlib import Path

from ffn.training.event_files import EventFile
from jobs.pieces import atomic_path
from jobs.progress import Progress

# In the order of the file. Empty where there is no such figure.
COLUMNS = (
    "step",
    "fovs",
    "hours",
    "fovs_per_second",
    "loss",
    "precision",
    "recall",
    "moves_taken",
    "waiting_share",
    "learning_rate",
    "validation_loss",
)
_SHOWN = {"step": "step", "fovs_per_second": "fov/s", "loss": "loss", "precision": "precision",
          "recall": "recall", "moves_taken": "moves", "waiting_share": "waiting", "learning_rate": "rate",
          "validation_loss": "validation"}  # fmt: skip
_WIDTH = 11
_ROWS_PER_HEADER = 20


class TrainingLog:
    """Appends rows of figures; nothing is made before the first.

    Args:
      folder: gets `log.csv` and event files.
      tensorboard: whether there are event files.
      progress: shows rows above its bar on a terminal.
      step: where the run goes on; later rows that there are already are dropped.
    """

    def __init__(self, folder: Path, tensorboard: bool, progress: Progress, step: int) -> None:
        self._folder, self._tensorboard, self._progress, self._step = folder, tensorboard, progress, step
        self._path = folder / "log.csv"
        self._events: EventFile | None = None
        self._rows = 0
        self._last = _forget_after(self._path, step)

    def append(self, row: Mapping[str, float]) -> None:
        """Writes a row, unless its step has one already.

        Args:
          row: figures by the names of `COLUMNS`; `step` is a must.
        """
        if row["step"] == self._last:
            return
        self._last = int(row["step"])
        fresh = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        if self._tensorboard:
            self._events = self._events or EventFile(self._folder, self._step)
            self._events.add(self._last, {f"training/{k}": v for k, v in row.items() if k != "step"})
        if sys.stderr.isatty():
            self._show(row)

    def _show(self, row: Mapping[str, float]) -> None:
        if self._rows % _ROWS_PER_HEADER == 0:
            self._progress.write("".join(f"{title:>{_WIDTH}s}" for title in _SHOWN.values()))
        self._rows += 1
        self._progress.write(table_row(row))


def table_row(row: Mapping[str, float]) -> str:
    """A row as it is shown: four digits that count, '-' where there is no figure."""
    values = [row.get(name, math.nan) for name in _SHOWN]
    cells = ["-" if math.isnan(value) else f"{value:.4g}" for value in values[1:]]
    return "".join(f"{cell:>{_WIDTH}s}" for cell in [str(int(values[0])), *cells])


def _forget_after(path: Path, step: int) -> int | None:
    """Drops rows of later steps, and those of another release; the step of the last row that is left."""
    if not path.exists():
        return None
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        known = reader.fieldnames is not None and tuple(reader.fieldnames) == COLUMNS
        rows = [row for row in reader if known and _is_up_to(row, step)]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return int(rows[-1]["step"]) if rows else None


def _is_up_to(row: Mapping[str | None, str | None], step: int) -> bool:
    """Whether a row is whole (a killed run may have left half a line) and not of a later step."""
    return None not in row and None not in row.values() and int(row["step"] or step + 1) <= step
