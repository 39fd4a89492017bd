"""Where each object of a volume of labels lies and how large it is, in one pass over blocks.

Inputs: a volume of integer labels (zyx), 0 = none. Outputs: bounding boxes in absolute voxels. Memory is that
of one block and of the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numba
import numpy as np

from evaluation.blocks import tiles
from evaluation.checks import unsigned
from volumes import Box, Volume
from volumes.box import Zyx

_BLOCK_EDGE = 256


@dataclass(frozen=True)
class ObjectBoxes:
    """One row an object.

    Attributes:
        ids: (n,) uint64, ascending, above 0.
        voxels: (n,) int64, how many an object has.
        start: (n, 3) int64, first voxel (zyx, absolute) of its bounding box.
        stop: (n, 3) int64, one beyond the last.
    """

    ids: np.ndarray
    voxels: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def of_at_least(self, voxels: int) -> ObjectBoxes:
        """The rows of the objects that have so many voxels."""
        kept = self.voxels >= voxels
        return ObjectBoxes(self.ids[kept], self.voxels[kept], self.start[kept], self.stop[kept])

    def box(self, row: int) -> Box:
        """The bounding box of one row."""
        return Box(tuple(self.start[row].tolist()), tuple(self.stop[row].tolist()))


def object_boxes(volume: Volume, box: Box, most_voxels: int) -> ObjectBoxes:
    """Find the objects in a box.

    Args:
        volume: integer labels >= 0.
        box: absolute, inside the volume.
        most_voxels: of a block that is read at once.

    Raises:
        EvaluationError: labels that are not integers, or below 0.
    """
    edge = max(1, min(_BLOCK_EDGE, int(most_voxels ** (1 / 3) + 1e-6)))
    table, waiting, n_waiting = _merged([]), [], 0
    for block in tiles(box, (edge, edge, edge), volume.bounds.start):
        waiting.append(_boxes_in(unsigned(volume.read(block), f"'{volume.spec}'"), block.start))
        n_waiting += len(waiting[-1].ids)
        if n_waiting > max(len(table.ids), 1 << 16):
            table, waiting, n_waiting = _merged([table, *waiting]), [], 0
    return _merged([table, *waiting])


def _boxes_in(labels: np.ndarray, start: Zyx) -> ObjectBoxes:
    import fastremap

    dense, numbers = fastremap.renumber(labels, preserve_zero=True)
    ids = np.zeros(1 + max(numbers.values(), default=0), np.uint64)
    for identity, number in numbers.items():
        ids[number] = identity
    voxels = np.zeros(len(ids), np.int64)
    low = np.full((len(ids), 3), np.iinfo(np.int64).max)
    high = np.zeros((len(ids), 3), np.int64)
    _measure(dense, voxels, low, high)
    return ObjectBoxes(ids[1:], voxels[1:], low[1:] + start, high[1:] + start)


@numba.njit(nogil=True, cache=True)
def _measure(dense: np.ndarray, voxels: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    for z, y, x in np.ndindex(dense.shape):
        number = dense[z, y, x]
        if number:
            voxels[number] += 1
            for axis, position in enumerate((z, y, x)):
                low[number, axis] = min(low[number, axis], position)
                high[number, axis] = max(high[number, axis], position + 1)


def _merged(tables: Iterable[ObjectBoxes]) -> ObjectBoxes:
    parts = list(tables)
    if not parts:
        return ObjectBoxes(np.empty(0, np.uint64), np.empty(0, np.int64), *np.empty((2, 0, 3), np.int64))
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids, kind="stable")
    firsts = np.flatnonzero(np.diff(ids[order], prepend=np.uint64(0)))
    return ObjectBoxes(
        ids[order][firsts],
        np.add.reduceat(np.concatenate([part.voxels for part in parts])[order], firsts),
        np.minimum.reduceat(np.concatenate([part.start for part in parts])[order], firsts),
        np.maximum.reduceat(np.concatenate([part.stop for part in parts])[order], firsts),
    )
